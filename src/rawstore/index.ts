export { createRawStore, type RawStore, type StoredRawMail } from './raw-store.ts';
