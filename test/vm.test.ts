import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Guest } from '../lab/guest/guest.ts';
import { find } from '../lab/guest/image.ts';
import { cases } from '../src/linux/wireguard/testing/cases.ts';

/*
 * What needs a kernel that has WireGuard, in a guest that boots one: src/linux/wireguard/testing has it, and runs it there
 * as it does here. It has one processor: an emulated machine of several lets programs that write their own code crash.
 */

const ROOT = join(import.meta.dirname, '..');

/** `npm run test:vm` runs them all; the program does in the guest what it does here, and more slowly. */
const backends = (process.env['CULVERT_VM_BACKENDS'] ?? 'kernel').split(' ');

/** seconds, of all cases; a minute where the machine is idle */
const RUN_S = 600;
const LIMIT_MS = 1000 * (RUN_S + 300);

const PROGRAMS = {
  sh: 'dash',
  ip: 'iproute2',
  ping: 'iputils-ping',
  unshare: 'util-linux',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
  wg: 'wireguard-tools',
  'wireguard-go': 'wireguard-go',
};

// An emulated machine of another kind would need another kernel.
describe.skipIf(process.arch !== 'x64')('in a guest (on x86-64 only)', () => {
  let guest: Guest;

  beforeAll(async () => {
    const tree = ['package.json', 'src', 'lab', 'node_modules/koffi', 'node_modules/@koromix/koffi-linux-x64'];
    guest = await Guest.boot(undefined, {
      memory_MiB: 512,
      contents: {
        modules: ['wireguard', 'veth', 'tun'],
        programs: [process.execPath, ...Object.entries(PROGRAMS).map(([name, from]) => find(name, from))],
        files: Object.fromEntries(tree.map((path) => [join('culvert', path), join(ROOT, path)])),
      },
    });
  }, LIMIT_MS);

  afterAll(() => guest?.[Symbol.asyncDispose](), 60_000);

  describe.each(backends)('a WireGuard of the %s', (backend) => {
    /** What was printed of each case, by its name. */
    let results: ReadonlyMap<string, string>;
    let printed = '';

    beforeAll(async () => {
      const { output } = await guest.run(`node /culvert/src/linux/wireguard/testing/run.ts ${backend}`, RUN_S);
      printed = output;
      const blocks = output.split(/^(?=(?:not )?ok )/m);
      results = new Map(blocks.map((block) => [/^(?:not )?ok (.*) \(\d+ ms\)$/m.exec(block)?.[1] ?? '', block]));
    }, LIMIT_MS);

    it.each(cases)('$name', ({ name }) => expect(results.get(name) ?? printed).toMatch(/^ok /));
  });
});
