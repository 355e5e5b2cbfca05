import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LabHost, OUTSIDE_ADDRESS } from '../lab/host.ts';
import { LineProcess } from '../lab/line-process.ts';
import { formatIpv4 } from '../src/addr/ipv4.ts';
import { parsePrefix } from '../src/addr/prefix.ts';
import type { Core } from '../src/daemon/core.ts';
import type { CulvertEvent } from '../src/daemon/engine.ts';
import { parseSandboxId, parseSlot } from '../src/ipam/lease.ts';
import { NamespaceHandle } from '../src/linux/namespace.ts';
import type { EgressPolicy } from '../src/sandbox/policy/policy.ts';
import type { Sandbox } from '../src/sandbox/sandbox.ts';
import { DEFAULT_LAYOUT } from '../src/sandbox/topology/layout.ts';
import { LAB, openCore, pause_ms, settle } from './support/lab-core.ts';

/* What a daemon has in the root namespace of a host that is others' too. */

const HOST_ADDRESS = '192.0.2.2';
const CHATTER = new URL('support/chatter.ts', import.meta.url).pathname;
/** Prints its port and echoes what it hears over TCP. */
const ECHO = `
  const server = require('node:net').createServer((socket) => socket.on('error', () => {}).pipe(socket));
  server.listen(0, process.argv[1], () => console.log(server.address().port));
  process.stdin.resume();`;
/** Sends each line that it reads over one connection, and prints what comes back within a second. */
const CALLER = `
  const socket = require('node:net').connect(process.argv[2], process.argv[1], () => console.log('connected'));
  socket.on('error', () => {});
  require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const waiting = setTimeout(() => console.log('no answer'), 1000);
    socket.removeAllListeners('data').once('data', (text) => {
      clearTimeout(waiting);
      console.log(String(text).trim());
    });
    socket.write(line + '\\n');
  });`;
const a1 = parseSandboxId('a1');
const OPEN: EgressPolicy = { egress: 'open', allow: [], deny: [] };
const CLOSED: EgressPolicy = { ...OPEN, egress: 'none' };

let lab: LabHost;
let inside: NamespaceHandle;

beforeEach(() => {
  lab = new LabHost();
  inside = new NamespaceHandle(lab.pin('host'));
});

afterEach(() => {
  inside[Symbol.dispose]();
  lab[Symbol.dispose]();
});

function withCore(body: (core: Core, events: readonly string[]) => void): void {
  const events: string[] = [];
  const emit = ({ type, message }: Omit<CulvertEvent, 'sequence' | 'wallMs'>): void =>
    void events.push(`${type} ${message}`);
  inside.run(() => {
    using core = openCore(lab.folder, { emit });
    body(core, events);
  });
}

function create(core: Core, policy: EgressPolicy = OPEN): Sandbox {
  const [sandbox] = core.create([{ id: a1, specification: { topology: 'netns', rates: {}, policy } }]);
  if (sandbox === undefined) throw new Error('No sandbox');
  return sandbox;
}

function answers(where: string, address: string): boolean {
  try {
    lab.run(where, 'ping', '-c1', '-W1', address);
    return true;
  } catch {
    return false;
  }
}

/** Everything that others would notice. */
function rootState(): Record<string, unknown> {
  const json = (...command: string[]): unknown => JSON.parse(lab.run('host', ...command));
  return {
    links: json('ip', '-j', 'link'),
    addresses: json('ip', '-j', 'address'),
    routes: json('ip', '-j', 'route', 'show', 'table', 'all'),
    neighbours: (json('ip', '-j', 'neighbour') as { dst: string }[]).filter(({ dst }) => dst !== OUTSIDE_ADDRESS),
    rules: lab.run('host', 'nft', 'list', 'ruleset'),
    settings: lab.run('host', 'sh', '-c', 'grep -r . /proc/sys/net/ipv4/conf /proc/sys/net/ipv4/ip_forward'),
  };
}

describe('a chain of others that drops what is forwarded', () => {
  const chain = ['ip', 'filter', 'FORWARD'];

  beforeEach(() => {
    lab.run('host', 'nft', 'add', 'table', 'ip', 'filter');
    lab.run('host', 'nft', 'add', 'chain', ...chain, '{ type filter hook forward priority 0; policy drop; }');
  });

  it('lets sandboxes pass, and again after the rules were flushed', () => {
    withCore((core, events) => {
      const { netns } = create(core);
      expect(answers(netns, OUTSIDE_ADDRESS)).toBe(true);
      lab.run('host', 'nft', 'flush', 'chain', ...chain);
      expect(answers(netns, OUTSIDE_ADDRESS)).toBe(false);
      expect(core.reconcile({ dryRun: true }).plan).toEqual([
        'insert rule "culvert-lab from sandboxes" into chain FORWARD of table ip filter',
        'insert rule "culvert-lab to sandboxes" into chain FORWARD of table ip filter',
      ]);
      pause_ms(5_100);
      core.step();
      expect(answers(netns, OUTSIDE_ADDRESS)).toBe(true);
      expect(events.filter((event) => event.startsWith('host.repaired'))).toHaveLength(1);
      expect(core.reconcile({ dryRun: true }).plan).toEqual([]);
    });
  });

  it.each([
    ['a chain without rules', 'flush', 'chain', 'inet', 'culvert-lab', 'input'],
    ['a range that is missing', 'flush', 'set', 'inet', 'culvert-lab', 'ranges'],
    ['been put to sleep', 'add', 'table', 'inet', 'culvert-lab', '{ flags dormant; }'],
  ])('has its own table put back, which has %s', (_, ...change) => {
    withCore((core, events) => {
      create(core);
      const rules = (): string => lab.run('host', 'nft', '-s', 'list', 'table', 'inet', 'culvert-lab');
      const before = rules();
      lab.run('host', 'nft', ...change);
      expect(core.reconcile({ dryRun: true }).plan).toEqual(['replace table inet culvert-lab']);
      pause_ms(150);
      core.step();
      expect(rules()).toBe(before);
      expect(events.filter((event) => event.startsWith('host.repaired'))).toHaveLength(1);
    });
  });

  it('has its own rules only when Culvert has gone', () => {
    const before = rootState();
    withCore((core) => {
      create(core);
      core.purge();
    });
    expect(rootState()).toEqual(before);
  });
});

describe('the root namespace', () => {
  it('is as before when Culvert has gone, also in a later run', () => {
    const before = rootState();
    withCore((core) => create(core));
    expect(rootState()).not.toEqual(before);
    withCore((core) => core.purge());
    expect(rootState()).toEqual(before);
  });

  /** Another daemon beside the one of {@link withCore}. */
  function openOther(): Core {
    const ranges = {
      hostRange: parsePrefix('10.21.0.0/16'),
      linkRange: parsePrefix('10.22.0.0/16'),
      bridgeRange: parsePrefix('10.23.64.0/24'),
    };
    const layout = { ...DEFAULT_LAYOUT, mtu: 1420, ...ranges };
    return openCore(lab.folder, {
      host: { instance: 'other', layout, uplink: 'eth0', inbound: [] },
      stateDir: join(lab.folder, 'other-state'),
      runDir: join(lab.folder, 'other-run'),
    });
  }

  it('keeps what another daemon needs when the first of two goes', () => {
    withCore((core) => {
      using other = openOther();
      const { netns } = create(other);
      create(core);
      core.purge();
      expect(answers(netns, OUTSIDE_ADDRESS)).toBe(true);
      expect(other.reconcile({ dryRun: true }).plan).toEqual([]);
    });
  });

  it.each([
    ['first', (one: Core, other: Core): Core[] => [one, other]],
    ['last', (one: Core, other: Core): Core[] => [other, one]],
  ])('is as before when two daemons have gone, the one that came first %s', (_, inOrder) => {
    lab.run('host', 'sh', '-c', 'echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding');
    const before = rootState();
    withCore((core) => {
      using other = openOther();
      const [first, last] = inOrder(core, other);
      first?.purge();
      expect(rootState()).not.toEqual(before);
      last?.purge();
    });
    expect(rootState()).toEqual(before);
    // what was put back once is nobody's any more
    lab.run('host', 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/conf/eth0/forwarding');
    const after = rootState();
    withCore((core) => core.purge());
    expect(rootState()).toEqual(after);
  });

  it.each([
    ['a table', ['nft', 'delete', 'table', 'inet', 'culvert-lab']],
    ['the cable', ['ip', 'link', 'delete', 'cv-lab']],
    ['a route', ['ip', 'route', 'delete', '10.11.0.0/16']],
    ['a setting', ['sh', '-c', 'echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding']],
  ])('gets %s back that somebody took away', (_, command) => {
    withCore((core) => {
      const policy: EgressPolicy = { ...OPEN, allow: [parsePrefix(`${HOST_ADDRESS}/32`)] };
      const { netns } = create(core, policy);
      lab.run('host', ...command);
      expect(answers(netns, OUTSIDE_ADDRESS)).toBe(false);
      expect(core.reconcile({ dryRun: false }).plan).not.toEqual([]);
      expect(answers(netns, OUTSIDE_ADDRESS)).toBe(true);
      expect(answers(netns, HOST_ADDRESS)).toBe(true);
      expect(core.reconcile({ dryRun: true }).plan).toEqual([]);
    });
  });
});

describe('a host whose uplink goes away', () => {
  const goAway = (): void => {
    lab.run('host', 'ip', 'link', 'set', 'eth0', 'down');
    lab.run('host', 'ip', 'link', 'set', 'eth0', 'name', 'away');
  };
  const comeBack = (): void => {
    lab.run('host', 'ip', 'link', 'set', 'away', 'name', 'eth0');
    lab.run('host', 'ip', 'link', 'set', 'eth0', 'up');
    lab.run('host', 'ip', 'route', 'add', 'default', 'via', OUTSIDE_ADDRESS);
    lab.run('host', 'sh', '-c', 'echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding');
  };
  const problems = (core: Core): string[] => core.status().problems.map(({ code }) => code);

  it('is guarded all the same, and a daemon that starts takes over what runs', () => {
    const { netns } = withNewCore((core) => {
      const sandbox = create(core);
      goAway();
      lab.run('host', 'nft', 'delete', 'table', 'inet', 'culvert-lab');
      pause_ms(5_100);
      core.step();
      expect(problems(core)).toEqual(['no_uplink']);
      expect(answers(sandbox.netns, '10.11.0.0')).toBe(false);
      expect(core.reconcile({ dryRun: true }).plan).toEqual([]);
      return sandbox;
    });
    withCore((core) => {
      settle(core);
      expect(core.list().map(({ id }) => id)).toEqual([a1]);
      expect(problems(core)).toEqual(['no_uplink']);
      comeBack();
      pause_ms(5_100);
      core.step();
      expect(problems(core)).toEqual([]);
      expect(answers(netns, OUTSIDE_ADDRESS)).toBe(true);
    });
  });

  function withNewCore<T>(body: (core: Core) => T): T {
    return inside.run(() => {
      using core = openCore(lab.folder);
      return body(core);
    });
  }
});

describe('a table that another took away', () => {
  it('ends what was begun meanwhile', async () => {
    // one that knows what is established, as a host’s own firewall does, keeps it going
    const firewall = 'add table inet other; add chain inet other in { type filter hook input priority 0; }';
    lab.run('host', 'nft', `${firewall}; add rule inet other in ct state established accept`);
    using used = new DisposableStack();
    const core = used.adopt(
      inside.run(() => openCore(lab.folder)),
      (opened) => inside.run(() => opened[Symbol.dispose]()),
    );
    const { netns } = inside.run(() => create(core));
    const host = used.use(new LineProcess(lab.pin('host'), process.execPath, ['-e', ECHO, HOST_ADDRESS]));
    const port = await host.line();
    lab.run('host', 'nft', 'delete', 'table', 'inet', 'culvert-lab');
    const guest = used.use(new LineProcess(netns, process.execPath, ['-e', CALLER, HOST_ADDRESS, port]));
    expect(await guest.line()).toBe('connected');
    expect(await guest.ask('still there?')).toBe('still there?');
    inside.run(() => settle(core));
    expect(lab.run('host', 'nft', 'list', 'tables')).toContain('culvert-lab');
    expect(await guest.ask('and now?')).toBe('no answer');
  });
});

describe('a change of policy that the kernel refuses', () => {
  it('changes nothing', () => {
    withCore((core) => {
      const { netns } = create(core, CLOSED);
      lab.run('host', 'nft', 'delete', 'table', 'inet', 'culvert-lab');
      const policy = { ...OPEN, allow: [parsePrefix(`${HOST_ADDRESS}/32`)] };
      expect(() => core.update(a1, { policy })).toThrow();
      expect(core.inspect(a1).policy).toEqual(CLOSED);
      expect(answers(netns, OUTSIDE_ADDRESS)).toBe(false);
      core.reconcile({ dryRun: false });
      expect(core.update(a1, { policy }).policy.egress).toBe('open');
      expect(answers(netns, OUTSIDE_ADDRESS)).toBe(true);
      expect(answers(netns, HOST_ADDRESS)).toBe(true);
    });
  });
});

describe('a neighbour of the host', () => {
  it('opens no connection to a sandbox but by a link that is named', () => {
    lab.run('outside', 'ip', 'route', 'add', '10.11.0.0/16', 'via', HOST_ADDRESS);
    const reaches = (inbound: readonly string[]): boolean =>
      inside.run(() => {
        using core = openCore(lab.folder, { host: { ...LAB, inbound } });
        const { netns, hostAddress } = create(core);
        // to the outside it gets, and answers come back
        expect(answers(netns, OUTSIDE_ADDRESS)).toBe(true);
        expect(answers('host', formatIpv4(hostAddress))).toBe(true);
        return answers('outside', formatIpv4(hostAddress));
      });
    expect(reaches([])).toBe(false);
    expect(reaches(['docker0'])).toBe(false);
    expect(reaches(['eth0'])).toBe(true);
    expect(reaches(['*'])).toBe(true);
  });
});

describe('the host itself', () => {
  it('is reached only where the policy names its address', () => {
    withCore((core) => {
      const { netns, hostAddress } = create(core, { ...OPEN, allow: [parsePrefix('192.0.2.0/24')] });
      expect(answers(netns, OUTSIDE_ADDRESS)).toBe(true);
      expect(answers(netns, HOST_ADDRESS)).toBe(false);
      core.update(a1, { policy: { ...OPEN, allow: [parsePrefix(`${HOST_ADDRESS}/32`)] } });
      expect(answers(netns, HOST_ADDRESS)).toBe(true);
      core.update(a1, { policy: OPEN });
      expect(answers(netns, HOST_ADDRESS)).toBe(false);
      expect(hostAddress).toBeDefined();
    });
  });
});

it('an address that somebody still sends to is nobody else’s before they stop', async () => {
  using used = new DisposableStack();
  const core = used.adopt(
    inside.run(() =>
      openCore(lab.folder, { slots: { first: parseSlot(1), last: parseSlot(1) }, quarantineFloor_ms: 100 }),
    ),
    (opened) => inside.run(() => opened[Symbol.dispose]()),
  );
  const { hostAddress } = inside.run(() => create(core));
  const pings = lab.spawn('host', 'ping', '-i', '0.05', formatIpv4(hostAddress));
  inside.run(() => core.remove([a1]));
  inside.run(() => {
    for (let ms = 0; ms < 1500; ms += 10) {
      core.step();
      pause_ms(10);
    }
    expect(() => create(core)).toThrow(/slots_exhausted|Cannot claim/);
    expect(core.leases()[0]?.quarantine?.reason).toBe('removed, and its address is still in use');
  });
  pings.kill('SIGKILL');
  inside.run(() => {
    settle(core);
    expect(create(core).hostAddress).toBe(hostAddress);
  });
});

describe('a policy that becomes narrower', () => {
  /** Flows that both namespaces track to an address, which is one flow seen twice. */
  function flows(netns: string, address: string): number {
    const router = netns.replace(/[^/]*$/, 'router');
    return ['host', router].reduce((sum, where) => {
      const listed = lab.run(where, 'conntrack', '-L', '-d', address, '-o', 'id').trim();
      return sum + listed.split('\n').filter((line) => line !== '').length;
    }, 0);
  }

  it('ends what it denies and nothing else', () => {
    withCore((core) => {
      const { netns } = create(core, { ...OPEN, allow: [parsePrefix(`${HOST_ADDRESS}/32`)] });
      lab.run('outside', 'ip', 'address', 'add', '192.0.2.7/24', 'dev', 'eth0');
      for (const address of [OUTSIDE_ADDRESS, '192.0.2.7', HOST_ADDRESS]) expect(answers(netns, address)).toBe(true);
      expect(flows(netns, OUTSIDE_ADDRESS)).toBe(2);
      core.update(a1, { policy: { ...OPEN, deny: [parsePrefix(`${OUTSIDE_ADDRESS}/32`)] } });
      expect(flows(netns, OUTSIDE_ADDRESS)).toBe(0);
      expect(flows(netns, '192.0.2.7')).toBe(2);
      expect(flows(netns, HOST_ADDRESS)).toBe(1);
      expect(answers(netns, OUTSIDE_ADDRESS)).toBe(false);
      expect(answers(netns, '192.0.2.7')).toBe(true);
      core.remove([a1]);
      settle(core);
    });
  });

  it('ends a flow that is busy both ways', async () => {
    using used = new DisposableStack();
    const core = used.adopt(
      inside.run(() => openCore(lab.folder)),
      (opened) => inside.run(() => opened[Symbol.dispose]()),
    );
    const { netns } = inside.run(() => create(core));
    const far = used.use(new LineProcess(lab.pin('outside'), process.execPath, [CHATTER, OUTSIDE_ADDRESS]));
    const port = await far.line();
    const near = used.use(new LineProcess(netns, process.execPath, [CHATTER, '0.0.0.0', OUTSIDE_ADDRESS, port]));
    await near.line();
    const heardBy = async (end: LineProcess): Promise<number> => Number(await end.ask('heard'));
    await expect.poll(() => heardBy(near)).toBeGreaterThan(100);
    inside.run(() => core.update(a1, { policy: { ...OPEN, deny: [parsePrefix(`${OUTSIDE_ADDRESS}/32`)] } }));
    const before = await Promise.all([far, near].map(heardBy));
    await pause(300);
    expect(await Promise.all([far, near].map(heardBy))).toEqual(before);
    expect(flows(netns, OUTSIDE_ADDRESS)).toBe(0);
    inside.run(() => {
      core.remove([a1]);
      settle(core);
    });
  });
});
