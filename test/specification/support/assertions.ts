import assert from 'node:assert/strict';

/** The same items in any order, each as often. The message shows only what differs. */
export function assertSameItems(actual: readonly unknown[], expected: readonly unknown[], message: string): void {
  const [found, wanted] = [actual, expected].map((items) => items.map((item) => JSON.stringify(item)).sort());
  const surplus = without(found ?? [], wanted ?? []);
  const absent = without(wanted ?? [], found ?? []);
  assert.deepEqual({ surplus, absent }, { surplus: [], absent: [] }, message);
}

function without(items: readonly string[], others: readonly string[]): readonly string[] {
  const left = [...others];
  return items.filter((item) => {
    const at = left.indexOf(item);
    if (at === -1) return true;
    left.splice(at, 1);
    return false;
  });
}

/** `250 2.0.0 accepted <id>` and nothing else. */
export function acceptedId(verdict: string): string {
  return acceptedIds(verdict, 1)[0] ?? '';
}

export function acceptedIds(verdict: string, count: number): readonly string[] {
  const id = '[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}';
  assert.match(verdict, new RegExp(`^250 2\\.0\\.0 accepted ${id}(?: ${id}){${count - 1}}$`));
  return verdict.split(' ').slice(3);
}
