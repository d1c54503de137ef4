/**
 * Settings that are defined, but whose parts come with the next version.
 * Setting them is a problem rather than a silent no-op: an operator who asks for TLS must not go without unawares.
 * To release one, delete its line.
 */
import type { SettingName } from './definition.ts';

const always = (): boolean => true;

/** Shape: whether this text asks for the part that is not there yet. */
export type NotYet = Readonly<Partial<Record<SettingName, (text: string) => boolean>>>;

export const notYetSupported: NotYet = {
  SMTP_PROXY_PROTOCOL_FROM: always,
};
