import { randomFillSync } from 'node:crypto';
import { v7 } from 'uuid';

const ID_BYTES = 16;
const IDS_AT_ONCE = 256;

/**
 * Ids of rows: UUIDs of version 7, with random bytes fetched for many at once, which is most of what one costs. Ids of
 * one millisecond are in no order.
 * Spec: RFC 9562 §5.7
 */
export function createMessageIds(): () => string {
  const pool = new Uint8Array(IDS_AT_ONCE * ID_BYTES);
  let used = pool.length;
  return () => {
    if (used === pool.length) {
      randomFillSync(pool);
      used = 0;
    }
    used += ID_BYTES;
    return v7({ random: pool.subarray(used - ID_BYTES, used) });
  };
}
