/**
 * Which parser has read a message: `inbound_message.parser_version`. Raise it by one with every change of outcome, here or
 * in the part engine: other documents, names, bytes, decisions, notes or statuses for the same mail. So that it can be told
 * which messages would be read differently today.
 */
export const PARSER_VERSION = 2;
