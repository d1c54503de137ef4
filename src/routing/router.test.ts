import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { BlockedSenders, Organisation, OrganisationDirectory } from '../ports/organisations.ts';
import { createRouter } from './index.ts';

const never = new AbortController().signal;

/** A directory and a block list in memory, that count what they are asked. */
function createTown(options: { readonly cacheMs?: number; readonly postmasterOrg?: string } = {}) {
  const organisations = new Map<string, Organisation>();
  /** Sender → who blocks it. */
  const blocked = new Map<string, (string | null)[]>();
  const asked: string[] = [];
  const aborted: string[] = [];
  let nowMs = 1_000_000;
  let fault: Error | null = null;
  let hold: Promise<void> | null = null;

  const directory: OrganisationDirectory = {
    async findBySlug(slug, signal) {
      asked.push(slug);
      signal?.addEventListener('abort', () => aborted.push(slug));
      const found = organisations.get(slug) ?? null;
      await hold;
      if (fault !== null) throw fault;
      return found;
    },
  };
  const blockedSenders: BlockedSenders = {
    async blockedBy(address) {
      asked.push(address);
      await hold;
      if (fault !== null) throw fault;
      return new Set(blocked.get(address) ?? []);
    },
  };
  const domains = ['orderflow.example.com', 'Mail.Example.ORG'];
  return {
    router: createRouter({ domains, organisations: directory, blockedSenders, clock: () => nowMs, ...options }),
    asked,
    aborted,
    blocked,
    add(slug: string, disabled = false): Organisation {
      const organisation = { id: `id-${slug}`, slug, name: slug, disabled };
      organisations.set(slug, organisation);
      return organisation;
    },
    remove: (slug: string) => organisations.delete(slug),
    passMs: (ms: number) => (nowMs += ms),
    break: (error: Error | null) => (fault = error),
    holdAnswers(): () => void {
      const { promise, resolve } = Promise.withResolvers<void>();
      hold = promise;
      return () => {
        hold = null;
        resolve();
      };
    },
  };
}

const from = (address: string) => ({ address, domain: address.slice(address.lastIndexOf('@') + 1) });
const at = (localPart: string, domain = 'orderflow.example.com') => ({ localPart, domain });

describe('routing a recipient', { timeout: 10_000 }, () => {
  it('finds the organisation in orders+{slug} at any of our domains, in any case', async () => {
    const town = createTown();
    const acme = town.add('acme');
    for (const recipient of [
      at('orders+acme'),
      at('ORDERS+Acme', 'OrderFlow.Example.COM'),
      at('orders+acme', 'mail.example.org'),
    ]) {
      assert.deepEqual(await town.router.route(recipient, never), { organisation: acme });
    }
  });

  it('refuses foreign domains before it looks at anything else', async () => {
    const town = createTown();
    town.add('acme');
    for (const domain of [
      'elsewhere.example',
      'sub.orderflow.example.com',
      'example.com',
      '[127.0.0.1]',
      'orderflow.example.com.',
      'constructor',
    ]) {
      for (const localPart of ['orders+acme', 'orders', 'nobody']) {
        assert.deepEqual(await town.router.route(at(localPart, domain), never), { verdict: 'relaying-denied' });
      }
    }
    assert.deepEqual(town.asked, []);
  });

  it('does not know other local parts, missing tags and Postmaster, and does not ask for them', async () => {
    const town = createTown();
    for (const recipient of [
      at('orders'),
      at('orders+'),
      at('info+acme'),
      at('orders+a+b'),
      at('Postmaster', ''),
      at('orders+acme', ''),
    ]) {
      assert.deepEqual(await town.router.route(recipient, never), { verdict: 'unknown-recipient' });
    }
    assert.deepEqual(town.asked, []);
  });

  it('postmaster, bare and at each of our domains, goes to the organisation that is named for it', async () => {
    const town = createTown({ postmasterOrg: 'desk' });
    const desk = town.add('desk');
    for (const recipient of [
      at('postmaster', ''),
      at('POSTmaster', ''),
      at('postmaster'),
      at('PostMaster', 'ORDERFLOW.example.com'),
      at('Postmaster', 'mail.example.org'),
    ]) {
      assert.deepEqual(await town.router.route(recipient, never), { organisation: desk });
    }
    assert.deepEqual(await town.router.route(at('postmaster', 'elsewhere.example'), never), {
      verdict: 'relaying-denied',
    });
    for (const localPart of ['postmaster+desk', 'po\u017ftmaster', 'post.master', 'desk', 'orders'])
      assert.deepEqual(await town.router.route(at(localPart), never), { verdict: 'unknown-recipient' }, localPart);
  });

  it('an organisation named for postmaster that is not there is our fault until it is', async () => {
    const town = createTown({ postmasterOrg: 'desk' });
    assert.deepEqual(await town.router.route(at('postmaster', ''), never), { verdict: 'unavailable' });
    assert.deepEqual(await town.router.route(at('orders+desk'), never), { verdict: 'unknown-recipient' });
    town.add('desk', true);
    assert.deepEqual(await town.router.route(at('postmaster', ''), never), { verdict: 'mailbox-disabled' });
  });

  it('a disabled organisation is its own verdict', async () => {
    const town = createTown();
    town.add('acme', true);
    assert.deepEqual(await town.router.route(at('orders+acme'), never), { verdict: 'mailbox-disabled' });
  });

  it('asks once for a known organisation, and again when the moment is over', async () => {
    const town = createTown({ cacheMs: 2000 });
    town.add('acme');
    for (let i = 0; i < 5; i++) await town.router.route(at('orders+acme'), never);
    assert.deepEqual(town.asked, ['acme']);
    town.add('acme', true);
    town.passMs(1999);
    assert.ok(
      'organisation' in (await town.router.route(at('orders+acme'), never)),
      'using an answer does not prolong it',
    );
    town.passMs(1);
    assert.deepEqual(await town.router.route(at('orders+acme'), never), { verdict: 'mailbox-disabled' });
    town.remove('acme');
    town.passMs(2000);
    assert.deepEqual(await town.router.route(at('orders+acme'), never), { verdict: 'unknown-recipient' });
  });

  it('never remembers a no: a new organisation works at once', async () => {
    const town = createTown();
    assert.deepEqual(await town.router.route(at('orders+new'), never), { verdict: 'unknown-recipient' });
    town.add('new');
    assert.ok('organisation' in (await town.router.route(at('orders+new'), never)));
  });

  it('a no on its way to somebody else is not believed either', async () => {
    const town = createTown();
    const answer = town.holdAnswers();
    const before = town.router.route(at('orders+new'), never);
    town.add('new');
    const afterwards = [1, 2, 3].map(() => town.router.route(at('orders+new'), never));
    answer();
    assert.deepEqual(await before, { verdict: 'unknown-recipient' });
    for (const routed of await Promise.all(afterwards)) assert.ok('organisation' in routed);
    assert.deepEqual(town.asked, ['new', 'new']);
  });

  it('shares one query among all who ask at the same time', async () => {
    const town = createTown();
    town.add('acme');
    const answer = town.holdAnswers();
    const routes = Array.from({ length: 50 }, () => town.router.route(at('orders+acme'), never));
    answer();
    for (const routed of await Promise.all(routes)) assert.ok('organisation' in routed);
    assert.deepEqual(town.asked, ['acme']);
  });

  it('a directory that cannot be asked is an error, never a verdict, and is asked again', async () => {
    const town = createTown();
    const fault = new Error('database down');
    town.add('acme');
    town.break(fault);
    const routes = [1, 2].map(() => town.router.route(at('orders+acme'), never));
    for (const route of routes) await assert.rejects(route, (error) => error === fault);
    town.break(null);
    assert.ok('organisation' in (await town.router.route(at('orders+acme'), never)));
  });

  it('one who gives up leaves the query to the others; when all have, it is aborted', async () => {
    const town = createTown();
    town.add('acme');
    const answer = town.holdAnswers();
    const [hasty, patient] = [new AbortController(), new AbortController()];
    const reason = new Error('deadline');
    const first = town.router.route(at('orders+acme'), hasty.signal);
    const second = town.router.route(at('orders+acme'), patient.signal);
    hasty.abort(reason);
    await assert.rejects(first, (error) => error === reason);
    assert.deepEqual(town.aborted, []);
    answer();
    assert.ok('organisation' in (await second));

    town.add('beta');
    const answerLate = town.holdAnswers();
    const only = new AbortController();
    const third = town.router.route(at('orders+beta'), only.signal);
    only.abort(reason);
    await assert.rejects(third, (error) => error === reason);
    assert.deepEqual(town.aborted, ['beta']);
    const fourth = town.router.route(at('orders+beta'), never);
    answerLate();
    assert.ok('organisation' in (await fourth), 'who comes later does not get the aborted query');
    await assert.rejects(town.router.route(at('orders+beta'), AbortSignal.abort(reason)), (error) => error === reason);
  });

  it('remembers a bounded number of organisations, and forgets the one unused for longest', async () => {
    const town = createTown();
    const route = (i: number) => town.router.route(at(`orders+o${i}`), never);
    for (let i = 0; i < 10_000; i++) {
      town.add(`o${i}`);
      await route(i);
    }
    await route(0);
    town.add('o10000');
    await route(10_000);
    assert.equal(town.asked.length, 10_001);
    await route(0);
    assert.equal(town.asked.length, 10_001, 'used a moment ago');
    await route(1);
    assert.equal(town.asked.length, 10_002, 'unused for longest');
  });
});

describe('judging a sender', { timeout: 10_000 }, () => {
  it('blocks for everyone or for one organisation', async () => {
    const town = createTown({ cacheMs: 0 });
    town.blocked.set('spam@bad.example', [null]);
    town.blocked.set('rude@bad.example', ['id-acme']);
    const { senderVerdict } = town.router;
    assert.equal(await senderVerdict(from('Spam@BAD.example'), null, never), 'sender-blocked');
    assert.equal(await senderVerdict(from('rude@bad.example'), null, never), null);
    assert.equal(await senderVerdict(from('rude@bad.example'), 'id-acme', never), 'sender-blocked');
    assert.equal(await senderVerdict(from('rude@bad.example'), 'id-beta', never), null);
  });

  it('a domain is asked about in one form, whatever the address says', async () => {
    const town = createTown({ cacheMs: 0 });
    town.blocked.set('spam@bad.example', [null]);
    town.blocked.set('"a@b"@xn--bcher-kva.example', [null]);
    for (const sender of [
      { address: 'Spam@bad.example.', domain: 'bad.example' },
      { address: '"a@B"@bücher.example', domain: 'xn--bcher-kva.example' },
      { address: '"a@b"@xn--bcher-kva.example', domain: 'xn--BCHER-kva.example' },
    ])
      assert.equal(await town.router.senderVerdict(sender, null, never), 'sender-blocked', sender.address);
  });

  it('never blocks the null reverse-path, and does not ask', async () => {
    const town = createTown();
    assert.equal(await town.router.senderVerdict(null, null, never), null);
    assert.equal(await town.router.senderVerdict(null, 'id-acme', never), null);
    assert.deepEqual(town.asked, []);
  });

  it('believes a verdict for a moment only, so that a block works within seconds', async () => {
    const town = createTown();
    const verdict = () => town.router.senderVerdict(from('a@b.example'), null, never);
    assert.equal(await verdict(), null);
    town.blocked.set('a@b.example', [null]);
    assert.equal(await verdict(), null);
    town.passMs(5000);
    assert.equal(await verdict(), 'sender-blocked');
    town.blocked.clear();
    town.passMs(5000);
    assert.equal(await verdict(), null);
    assert.equal(town.asked.length, 3);
  });

  it('a list that cannot be asked is an error, never a verdict', async () => {
    const town = createTown();
    const fault = new Error('database down');
    town.break(fault);
    await assert.rejects(town.router.senderVerdict(from('a@b.example'), null, never), (error) => error === fault);
  });
});
