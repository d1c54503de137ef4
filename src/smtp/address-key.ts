/** An IPv4 client on a dual-stack socket looks like `::ffff:192.0.2.1`; everybody else calls it `192.0.2.1`. */
export function plainAddress(address: string): string {
  return /^::ffff:\d+\.\d+\.\d+\.\d+$/i.test(address) ? address.slice('::ffff:'.length) : address;
}

/** What connections are counted by: the address, and for IPv6 its /64, which one customer has all of. */
export function addressKey(remoteAddress: string): string {
  const address = plainAddress(remoteAddress);
  if (!address.includes(':')) return address;
  const [head = '', tail] = (address.split('%')[0] ?? '').toLowerCase().split('::');
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const after = tail === '' ? [] : tail.split(':');
    while (groups.length + after.length < 8) groups.push('0');
    groups.push(...after);
  }
  return `${groups.slice(0, 4).join(':')}::/64`;
}
