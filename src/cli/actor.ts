import { userInfo } from 'node:os';

/** Who asks, as far as the machine knows: for the audit log. */
export function actor(): string {
  try {
    return `cli:${userInfo().username}`;
  } catch {
    return 'cli'; // An account without a name, as in containers.
  }
}
