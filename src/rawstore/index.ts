export { createRawStore, MAX_HEADER_BLOCK_BYTES, type RawStore, type StoredRawMail } from './raw-store.ts';
