import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { HOST_ADDRESS, OUTSIDE_ADDRESS } from '../lab/host.ts';
import { LineProcess } from '../lab/line-process.ts';
import { Pinging } from '../lab/pinging.ts';
import { formatIpv4 } from '../src/addr/ipv4.ts';
import { parsePrefix } from '../src/addr/prefix.ts';
import { parseSlot } from '../src/ipam/lease.ts';
import { LAB, openCore, pause_ms, settle } from './support/lab-core.ts';
import { a1, CLOSED, create, OPEN, useRootHost } from './support/root-host.ts';
import { CALLER, ECHO } from './support/talk.ts';

/* Who reaches a sandbox and whom it reaches, the host and its neighbours among them, and what becomes of flows. */

const CHATTER = new URL('support/chatter.ts', import.meta.url).pathname;
const host = useRootHost();

describe('a table that another took away', () => {
  it('ends what was begun meanwhile', async () => {
    // one that knows what is established, as a host’s own firewall does, keeps it going
    const firewall = 'add table inet other; add chain inet other in { type filter hook input priority 0; }';
    host.lab.run('host', 'nft', `${firewall}; add rule inet other in ct state established accept`);
    using used = new DisposableStack();
    const core = used.adopt(
      host.run(() => openCore(host.lab.folder)),
      (opened) => host.run(() => opened[Symbol.dispose]()),
    );
    const { netns } = host.run(() => create(core));
    const echo = used.use(new LineProcess(host.lab.pin('host'), process.execPath, ['-e', ECHO, HOST_ADDRESS]));
    const port = await echo.line();
    host.lab.run('host', 'nft', 'delete', 'table', 'inet', 'culvert-lab');
    const guest = used.use(new LineProcess(netns, process.execPath, ['-e', CALLER, HOST_ADDRESS, port]));
    expect(await guest.line()).toBe('connected');
    expect(await guest.ask('still there?')).toBe('still there?');
    host.run(() => settle(core));
    expect(host.lab.run('host', 'nft', 'list', 'tables')).toContain('culvert-lab');
    expect(await guest.ask('and now?')).toBe('no answer');
  });
});

describe('a change of policy that the kernel refuses', () => {
  it('changes nothing', () => {
    host.withCore((core) => {
      const { netns } = create(core, CLOSED);
      host.lab.run('host', 'nft', 'delete', 'table', 'inet', 'culvert-lab');
      const policy = { ...OPEN, allow: [parsePrefix(`${HOST_ADDRESS}/32`)] };
      expect(() => core.update(a1, { policy })).toThrow();
      expect(core.inspect(a1).policy).toEqual(CLOSED);
      expect(host.answers(netns, OUTSIDE_ADDRESS)).toBe(false);
      core.reconcile({ dryRun: false });
      expect(core.update(a1, { policy }).policy.egress).toBe('open');
      expect(host.answers(netns, OUTSIDE_ADDRESS)).toBe(true);
      expect(host.answers(netns, HOST_ADDRESS)).toBe(true);
    });
  });
});

describe('a neighbour of the host', () => {
  it('opens no connection to a sandbox but by a link that is named', () => {
    host.lab.run('outside', 'ip', 'route', 'add', '10.11.0.0/16', 'via', HOST_ADDRESS);
    const reaches = (inbound: readonly string[]): boolean =>
      host.run(() => {
        using core = openCore(host.lab.folder, { host: { ...LAB, inbound } });
        const { netns, hostAddress } = create(core);
        // to the outside it gets, and answers come back
        expect(host.answers(netns, OUTSIDE_ADDRESS)).toBe(true);
        expect(host.answers('host', formatIpv4(hostAddress))).toBe(true);
        return host.answers('outside', formatIpv4(hostAddress));
      });
    expect(reaches([])).toBe(false);
    expect(reaches(['docker0'])).toBe(false);
    expect(reaches(['eth0'])).toBe(true);
    expect(reaches(['*'])).toBe(true);
  });
});

describe('the host itself', () => {
  it('is reached only where the policy names its address', () => {
    host.withCore((core) => {
      const { netns, hostAddress } = create(core, { ...OPEN, allow: [parsePrefix('192.0.2.0/24')] });
      expect(host.answers(netns, OUTSIDE_ADDRESS)).toBe(true);
      expect(host.answers(netns, HOST_ADDRESS)).toBe(false);
      core.update(a1, { policy: { ...OPEN, allow: [parsePrefix(`${HOST_ADDRESS}/32`)] } });
      expect(host.answers(netns, HOST_ADDRESS)).toBe(true);
      core.update(a1, { policy: OPEN });
      expect(host.answers(netns, HOST_ADDRESS)).toBe(false);
      expect(hostAddress).toBeDefined();
    });
  });
});

it('an address that somebody still sends to is nobody else’s before they stop', async () => {
  using used = new DisposableStack();
  const core = used.adopt(
    host.run(() =>
      openCore(host.lab.folder, { slots: { first: parseSlot(1), last: parseSlot(1) }, quarantineFloor_ms: 100 }),
    ),
    (opened) => host.run(() => opened[Symbol.dispose]()),
  );
  const { hostAddress } = host.run(() => create(core));
  const pings = used.use(new Pinging(host.lab.pin('host'), formatIpv4(hostAddress)));
  await pings.replies(1);
  host.run(() => core.remove([a1]));
  host.run(() => {
    for (let ms = 0; ms < 1500; ms += 10) {
      core.step();
      pause_ms(10);
    }
    expect(() => create(core)).toThrow(/slots_exhausted|Cannot claim/);
    expect(core.leases()[0]?.quarantine?.reason).toBe('removed, and its address is still in use');
  });
  await pings.stop();
  host.run(() => {
    settle(core);
    expect(create(core).hostAddress).toBe(hostAddress);
  });
});

describe('a policy that becomes narrower', () => {
  /** Flows that both namespaces track to an address, which is one flow seen twice. */
  function flows(netns: string, address: string): number {
    const router = netns.replace(/[^/]*$/, 'router');
    return ['host', router].reduce((sum, where) => {
      const listed = host.lab.run(where, 'conntrack', '-L', '-d', address, '-o', 'id').trim();
      return sum + listed.split('\n').filter((line) => line !== '').length;
    }, 0);
  }

  it('ends what it denies and nothing else', () => {
    host.withCore((core) => {
      const { netns } = create(core, { ...OPEN, allow: [parsePrefix(`${HOST_ADDRESS}/32`)] });
      host.lab.run('outside', 'ip', 'address', 'add', '192.0.2.7/24', 'dev', 'eth0');
      for (const address of [OUTSIDE_ADDRESS, '192.0.2.7', HOST_ADDRESS])
        expect(host.answers(netns, address)).toBe(true);
      expect(flows(netns, OUTSIDE_ADDRESS)).toBe(2);
      core.update(a1, { policy: { ...OPEN, deny: [parsePrefix(`${OUTSIDE_ADDRESS}/32`)] } });
      expect(flows(netns, OUTSIDE_ADDRESS)).toBe(0);
      expect(flows(netns, '192.0.2.7')).toBe(2);
      expect(flows(netns, HOST_ADDRESS)).toBe(1);
      expect(host.answers(netns, OUTSIDE_ADDRESS)).toBe(false);
      expect(host.answers(netns, '192.0.2.7')).toBe(true);
      core.remove([a1]);
      settle(core);
    });
  });

  it('ends a flow that is busy both ways', async () => {
    using used = new DisposableStack();
    const core = used.adopt(
      host.run(() => openCore(host.lab.folder)),
      (opened) => host.run(() => opened[Symbol.dispose]()),
    );
    const { netns } = host.run(() => create(core));
    const far = used.use(new LineProcess(host.lab.pin('outside'), process.execPath, [CHATTER, OUTSIDE_ADDRESS]));
    const port = await far.line();
    const near = used.use(new LineProcess(netns, process.execPath, [CHATTER, '0.0.0.0', OUTSIDE_ADDRESS, port]));
    await near.line();
    const heardBy = async (end: LineProcess): Promise<number> => Number(await end.ask('heard'));
    await expect.poll(() => heardBy(near)).toBeGreaterThan(100);
    host.run(() => core.update(a1, { policy: { ...OPEN, deny: [parsePrefix(`${OUTSIDE_ADDRESS}/32`)] } }));
    // what has come by now is read in its time, and then nothing more comes
    const stands = async (): Promise<boolean> => {
      const before = await Promise.all([far, near].map(heardBy));
      await pause(300);
      const after = await Promise.all([far, near].map(heardBy));
      return after.every((count, index) => count === before[index]);
    };
    await expect.poll(stands).toBe(true);
    expect(flows(netns, OUTSIDE_ADDRESS)).toBe(0);
    host.run(() => {
      core.remove([a1]);
      settle(core);
    });
  });
});
