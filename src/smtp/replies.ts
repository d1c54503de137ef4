/** Placeholder until the reply table is written: the names an application may refuse with. */
export type ApplicationRefusal =
  | 'unknown-recipient'
  | 'relaying-denied'
  | 'mailbox-disabled'
  | 'sender-blocked'
  | 'unavailable'
  | 'storage-full';
