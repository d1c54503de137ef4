export { createRawStore, type RawStore, type StoredRawMail } from './raw-store.ts';
export { readStoredMail } from './stored-mail.ts';
