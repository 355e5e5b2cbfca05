import { readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LabHost, OUTSIDE_ADDRESS } from '../lab/host.ts';
import type {
  FirecrackerResource,
  LeaseResource,
  ReconcileResult,
  SandboxResource,
  StatusResource,
} from '../src/api/client/client.ts';
import { CommandLine, ended, lineOf } from './support/command-line.ts';

/*
 * The command line on a real kernel, as a person types it:
 *
 *     outside 192.0.2.1 ── eth0 host ── cv-main ── router ── sandboxes
 */

const ADDRESS = expect.stringMatching(/^\d+\.\d+\.\d+\.\d+$/);

let host: LabHost;
let culvert: CommandLine;

beforeAll(async () => {
  host = new LabHost();
  culvert = new CommandLine(host);
  await culvert.up();
});
afterAll(async () => {
  await culvert.run('down', '--purge');
  host[Symbol.dispose]();
});

/** What it says of a mistake, as a machine reads it. */
async function failure(...parameters: string[]): Promise<{ code: number | null; error: Record<string, string> }> {
  const { code, stdout, stderr } = await culvert.run(...parameters, '--json');
  expect(stdout).toBe('');
  return { code, ...(JSON.parse(stderr) as { error: Record<string, string> }) };
}

describe('culvert create', () => {
  it.each(['microvm', 'netns', 'bridge'] as const)('makes a %s network', async (topology) => {
    const [sandbox] = await culvert.json<SandboxResource[]>(
      'create',
      `t-${topology}`,
      '--topology',
      topology,
      '--egress',
      'open',
    );
    expect(sandbox).toMatchObject({
      id: `t-${topology}`,
      topology,
      generation: 1,
      slot: expect.any(Number),
      netns: expect.stringContaining(culvert.runDir),
      hostAddress: ADDRESS,
      guestAddress: topology === 'microvm' ? '169.254.0.21' : sandbox?.hostAddress,
      gateway: ADDRESS,
      mtu: 1420,
      ...(topology === 'microvm' ? { tap: 'tap0' } : {}),
    });
    // In a namespace with a TAP it is the guest that speaks.
    if (topology === 'microvm') {
      const address = await culvert.ok('exec', `t-${topology}`, '--', 'ip', '-br', 'address', 'show', 'tap0');
      expect(address).toMatch(/^tap0 .* 169\.254\.0\.22\/30 *$/m);
      return;
    }
    const ping = ['exec', `t-${topology}`, '--', 'ping', '-c', '1', '-W', '5', OUTSIDE_ADDRESS];
    expect(await culvert.ok(...ping)).toContain('1 received');
    host.run('host', 'ping', '-c', '1', '-W', '5', sandbox?.hostAddress ?? '');
  });

  it('makes several, each its own', async () => {
    const sandboxes = await culvert.json<SandboxResource[]>('create', '--topology', 'netns', '--count', '5');
    expect(new Set(sandboxes.map(({ id }) => id)).size).toBe(5);
    expect(new Set(sandboxes.map(({ hostAddress }) => hostAddress)).size).toBe(5);
    const removed = await culvert.json<object[]>('rm', ...sandboxes.map(({ id }) => id));
    expect(removed).toEqual(sandboxes.map(({ id, slot, generation }) => ({ id, slot, generation })));
  });

  it('makes none where there is no room for all', async () => {
    const before = await culvert.json('ls');
    const many = await failure('create', '--topology', 'netns', '--count', '32767');
    expect(many).toMatchObject({ code: 1, error: { code: 'slots_exhausted' } });
    expect(many.error['message']).toMatch(/^Cannot create 32767 sandboxes: \d+ slots are free$/);
    const bridge = await failure('create', '--topology', 'bridge', '--count', '300');
    expect(bridge).toMatchObject({ code: 1, error: { code: 'bridge_exhausted' } });
    expect(bridge.error['message']).toMatch(
      /^Cannot create 300 sandboxes: after 250, which are removed: Cannot claim /,
    );
    expect(await culvert.json('ls')).toEqual(before);
  });

  it('makes none where it is interrupted', async () => {
    const count = async (): Promise<number> => (await culvert.json<unknown[]>('ls')).length;
    const before = await count();
    const creation = culvert.spawn('create', '--topology', 'netns', '--count', '3000');
    const end = ended(creation);
    await expect.poll(count, { timeout: 30_000 }).toBeGreaterThan(before);
    creation.kill('SIGINT');
    expect(await end).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/after \d+, which are removed: SIGINT came\n$/),
    });
    expect(await count()).toBe(before);
  });

  it('makes none where it is interrupted before it has heard of any', async () => {
    const before = await culvert.json('ls');
    const { pid } = await culvert.json<StatusResource>('status');
    process.kill(pid, 'SIGSTOP');
    try {
      const creation = culvert.spawn('create', '--topology', 'netns', '--count', '3');
      const end = ended(creation);
      // once it is connected: its three streams are sockets too
      const sockets = (): number => socketsOf(creation.pid ?? 0);
      await expect.poll(sockets, { timeout: 30_000 }).toBeGreaterThan(3);
      creation.kill('SIGINT');
      process.kill(pid, 'SIGCONT');
      const stderr = expect.stringMatching(/Cannot create 3 sandboxes: after 3, which are removed: SIGINT came\n$/);
      expect(await end).toMatchObject({ code: 1, stderr });
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    expect(await culvert.json('ls')).toEqual(before);
  });

  function socketsOf(pid: number): number {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).filter((fd) => readlinkSync(`${folder}/${fd}`).startsWith('socket:')).length;
  }

  it('returns what exists, and names the difference where it is another', async () => {
    const wanted = ['create', 'same', '--topology', 'netns', '--tx-rate', '200MB', '--deny', '192.0.2.0/24'];
    const first = await culvert.json<SandboxResource[]>(...wanted);
    expect(first).toMatchObject([
      { rates: { transmit: { rate: 200_000_000, burst: 100_000_000 } }, policy: { deny: ['192.0.2.0/24'] } },
    ]);
    expect(await culvert.json(...wanted)).toEqual(first);
    const { code, error } = await failure('create', 'same', '--topology', 'netns', '--egress', 'none');
    expect([code, error['code']]).toEqual([1, 'sandbox_exists']);
    expect(error['message']).toMatch(/rates\.transmit none instead of .*policy\.egress none instead of internet/);
    await culvert.ok('rm', 'same');
  });
});

describe('culvert ls and inspect', () => {
  it('show what is there, in a table and in JSON', async () => {
    const sandboxes = await culvert.json<SandboxResource[]>('ls');
    const rows = (await culvert.ok('ls')).trimEnd().split('\n');
    expect(rows[0]).toMatch(/^ID +TOPOLOGY +SLOT +GEN +HOST ADDRESS/);
    expect(rows.slice(1).map((row) => row.split(/ +/)[0])).toEqual(sandboxes.map(({ id }) => id));
    expect(sandboxes.map(({ id }) => id)).toEqual(expect.arrayContaining(['t-microvm', 't-netns', 't-bridge']));

    const one = await culvert.json<SandboxResource>('inspect', 't-microvm');
    expect(sandboxes).toContainEqual(one);
    const words = await culvert.ok('inspect', 't-microvm');
    for (const value of [one.netns, one.hostAddress, one.guestAddress, 'tap0']) expect(words).toContain(value);
  });

  it('describe the guest to Firecracker', async () => {
    const { 'boot-source': source, 'network-interfaces': networks } = JSON.parse(
      await culvert.ok('inspect', 't-microvm', '--firecracker'),
    ) as FirecrackerResource;
    expect(source.boot_args).toBe('ip=169.254.0.21::169.254.0.22:255.255.255.252:t-microvm:eth0:off');
    expect(networks).toMatchObject([
      { host_dev_name: 'tap0', tx_rate_limiter: { bandwidth: { size: 100_000_000, refill_time: 500 } } },
    ]);
    expect(await failure('inspect', 't-netns', '--firecracker')).toMatchObject({
      code: 1,
      error: { code: 'not_a_microvm' },
    });
  });
});

describe('culvert exec', () => {
  it('runs a command inside, with its input, output and exit code', async () => {
    const child = culvert.spawn('exec', 't-netns', '--', 'sh', '-c', 'cat; ip -br link; echo trouble >&2; exit 7');
    child.stdin?.end('given\n');
    const { code, stdout, stderr } = await ended(child);
    expect([code, stderr]).toEqual([7, 'trouble\n']);
    expect(stdout).toMatch(/^given\n(.*\n)*eth0@/);
    expect(stdout).not.toContain('cv-main');
  });

  it('leaves the launcher’s variable out of the command’s environment', async () => {
    expect(await culvert.ok('exec', 't-netns', '--', 'sh', '-c', 'echo "<$NODE_COMPILE_CACHE>"')).toBe('<>\n');
  });

  it('passes signals on, and ends by the one that the command ended by', async () => {
    const trap = culvert.spawn(
      'exec',
      't-netns',
      '--',
      'sh',
      '-c',
      'trap "echo got; exit 9" TERM; echo up; while :; do sleep 0.1; done',
    );
    await lineOf(trap, /^up$/);
    const end = ended(trap);
    trap.kill('SIGTERM');
    expect(await end).toMatchObject({ code: 9, stdout: expect.stringContaining('got') });

    const killed = culvert.spawn('exec', 't-netns', '--', 'sh', '-c', 'kill -KILL $$');
    await ended(killed);
    expect(killed.signalCode).toBe('SIGKILL');
  });

  it.each([
    [127, ['exec', 't-netns', '--', 'no-such-command']],
    [126, ['exec', 't-netns', '--', '/etc']],
    [1, ['exec', 'nobody', '--', 'true']],
    [2, ['exec', 't-netns']],
  ])('ends with %d for culvert %j', async (code, parameters) => {
    const { code: found, stderr } = await culvert.run(...parameters);
    expect(found).toBe(code);
    expect(stderr).toMatch(/^culvert: Cannot [^\n]+\n$/);
  });
});

describe('culvert set', () => {
  it('changes what a running sandbox may reach', async () => {
    const ping = ['exec', 't-netns', '--', 'ping', '-c', '1', '-W', '1', OUTSIDE_ADDRESS];
    const changed = await culvert.json<SandboxResource>('set', 't-netns', '--egress', 'none');
    expect(changed.policy).toEqual({ egress: 'none', allow: [], deny: [] });
    expect((await culvert.run(...ping)).code).toBe(1);
    await culvert.ok('update', 't-netns', '--allow', `${OUTSIDE_ADDRESS}/32`);
    expect((await culvert.run(...ping)).code).toBe(0);
    const open = await culvert.json<SandboxResource>('set', 't-netns', '--egress', 'open', '--no-allow');
    expect(open.policy).toEqual({ egress: 'open', allow: [], deny: [] });
  });

  it('loses nothing of several at once that change different parts', async () => {
    const set = (...given: string[]): Promise<string> => culvert.ok('set', 't-netns', ...given);
    await Promise.all([
      set('--egress', 'internet'),
      set('--allow', '10.1.0.0/16'),
      set('--deny', '192.0.2.128/25'),
      set('--tx-rate', '1MB'),
      set('--rx-rate', '2MB'),
    ]);
    const { policy, rates } = await culvert.json<SandboxResource>('inspect', 't-netns');
    expect(policy).toEqual({ egress: 'internet', allow: ['10.1.0.0/16'], deny: ['192.0.2.128/25'] });
    expect([rates.transmit?.rate, rates.receive?.rate]).toEqual([1_000_000, 2_000_000]);
    await set('--egress', 'open', '--no-allow', '--no-deny', '--no-tx-rate', '--no-rx-rate');
  });

  it('changes rates one by one, and takes them away', async () => {
    const rates = async (...given: string[]): Promise<SandboxResource['rates']> =>
      (await culvert.json<SandboxResource>('set', 't-microvm', ...given)).rates;
    expect(await rates('--tx-rate', '8Mbit')).toEqual({ transmit: { rate: 1_000_000, burst: 500_000 } });
    const both = { transmit: { rate: 1_000_000, burst: 131_072 }, receive: { rate: 2_000_000, burst: 100_000 } };
    expect(await rates('--tx-burst', '128KiB', '--rx-rate', '2MB', '--rx-burst', '100kB')).toEqual(both);
    const { netns } = await culvert.json<SandboxResource>('inspect', 't-microvm');
    const qdiscs = JSON.parse(host.run(netns, 'tc', '-j', 'qdisc', 'show')) as { kind: string; dev: string }[];
    expect(
      qdiscs
        .filter(({ kind }) => kind === 'tbf')
        .map(({ dev }) => dev)
        .toSorted(),
    ).toEqual(['eth0', 'tap0']);
    expect(await rates('--tx-rate', '2MB')).toEqual({ ...both, transmit: { rate: 2_000_000, burst: 1_000_000 } });
    expect(await rates('--no-tx-rate', '--no-rx-rate')).toEqual({});
    expect(host.run(netns, 'tc', 'qdisc', 'show')).not.toContain('tbf');
  });
});

describe('culvert leases', () => {
  it('list and explain who has a slot, and who had it last', async () => {
    const [sandbox] = await culvert.json<SandboxResource[]>('create', 'lessee', '--topology', 'netns');
    const slot = String(sandbox?.slot);
    const held = await culvert.json<LeaseResource>('leases', 'explain', slot);
    expect(held).toMatchObject({ slot: sandbox?.slot, state: 'ready', sandboxId: 'lessee', generation: 1 });
    expect(await culvert.json('leases', 'explain', 'lessee')).toEqual([held]);
    expect(await culvert.json<LeaseResource[]>('leases')).toContainEqual(held);
    expect(await culvert.ok('leases')).toMatch(new RegExp(`^${slot} +1 +ready +lessee +netns`, 'm'));

    await culvert.ok('rm', 'lessee');
    const sentence = await culvert.ok('leases', 'explain', slot);
    expect(sentence).toMatch(new RegExp(`^Slot ${slot} (is removing|rests .*: removed; free|is free)`));
    expect(await culvert.json('leases', 'explain', '32000')).toEqual({ slot: 32_000, state: 'free' });
    expect(await failure('leases', 'release', '32000', '--force')).toMatchObject({
      code: 1,
      error: { code: 'lease_state' },
    });
  });
});

describe('culvert reconcile', () => {
  it('says what differs and, when it is told to, repairs it', async () => {
    const { hostAddress } = await culvert.json<SandboxResource>('inspect', 't-netns');
    const router = `${culvert.runDir}/netns/router`;
    const route = (): string => host.run(router, 'ip', 'route', 'show', `${hostAddress}/32`);
    expect(await culvert.json('reconcile', '--dry-run')).toEqual({ plan: [], applied: false });
    host.run(router, 'ip', 'route', 'delete', `${hostAddress}/32`);
    const plan = (await culvert.ok('reconcile', '--dry-run')).trimEnd().split('\n');
    expect(plan).toEqual([expect.stringMatching(new RegExp(`route.*${hostAddress}`))]);
    expect(route()).toBe('');
    expect(await culvert.json<ReconcileResult>('reconcile')).toEqual({ plan, applied: true });
    expect(route()).toContain(hostAddress);
    expect(await culvert.run('reconcile')).toMatchObject({ code: 0, stdout: '' });
  });
});

describe('culvert events', () => {
  it('follows what happens, in lines and in JSON, and ends when it is told to', async () => {
    const streams = [culvert.spawn('events', '--type', 'sandbox.'), culvert.spawn('events', '--json')];
    const [words, json] = streams.map(ended);
    while ((await culvert.json<object[]>('ls')).length > 0 && !(await streamsOpen(2))) await pause(50);
    const seen = streams.map((stream) => lineOf(stream, /removed/));
    await culvert.ok('create', 'eventful', '--topology', 'netns');
    await culvert.ok('rm', 'eventful');
    await Promise.all(seen);
    for (const stream of streams) stream.kill('SIGINT');
    expect(await words).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(
        /^[0-9a-z]+-\d+ {2}\S+Z {2}sandbox\.created {2}Sandbox eventful .*\n(.*\n)*\S+ {2}\S+Z {2}sandbox\.removed /m,
      ),
    });
    const { code, stdout } = (await json) ?? { code: undefined, stdout: '' };
    expect(code).toBe(0);
    const events = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { id: string; event: { type: string } });
    expect(events.map(({ event }) => event.type)).toEqual(
      expect.arrayContaining(['sandbox.created', 'sandbox.removed']),
    );
    expect(events[0]?.id).toMatch(/^[0-9a-z]+-\d+$/);
  });

  async function streamsOpen(count: number): Promise<boolean> {
    const metrics = host.run('host', 'curl', '-s', '--unix-socket', culvert.socket, 'http://culvert/metrics');
    return metrics.includes(`culvert_event_streams ${count}\n`);
  }
});

describe('culvert bench', () => {
  it('measures, and leaves nothing', async () => {
    const before = await culvert.json('ls');
    const result = await culvert.json('bench', '--count', '5', '--parallel', '2', '--topology', 'bridge');
    const figures = { count: 5, perSecond: expect.any(Number), p50Ms: expect.any(Number), p99Ms: expect.any(Number) };
    expect(result).toMatchObject({ topology: 'bridge', parallel: 2, create: figures, remove: figures });
    expect(await culvert.ok('bench', '--count', '2')).toMatch(/^WHAT .*\ncreate netns +2 .*\nremove netns +2 /);
    expect(await culvert.json('ls')).toEqual(before);
  });
});

describe('culvert status', () => {
  it('says how it is', async () => {
    const status = await culvert.json<StatusResource>('status');
    expect(status).toMatchObject({ name: 'main', mtu: 1420, live: { microvm: 1, netns: 1, bridge: 1 }, problems: [] });
    expect(await culvert.ok('status')).toMatch(/^daemon +main .*\nlive +3 \(microvm 1, netns 1, bridge 1\)\n/);
  });
});

describe('culvert drain', () => {
  it('keeps new sandboxes away, over a restart too, waits for those that run, and is taken back', async () => {
    expect(await culvert.ok('drain')).toBe('Host main takes no new sandboxes; 3 run on\n');
    expect(await failure('create', 'x', '--topology', 'netns')).toMatchObject({
      code: 1,
      error: { code: 'draining', message: expect.stringMatching(/on another host, .* culvert undrain$/) },
    });
    // what is there already is as it is asked for
    await culvert.ok('set', 't-netns', '--egress', 'none');
    await culvert.kill('SIGKILL');
    await culvert.up();
    expect(await culvert.ok('status')).toMatch(/\ndraining +no new sandboxes, since /);
    expect(await failure('create', 'x', '--topology', 'netns')).toMatchObject({ error: { code: 'draining' } });
    expect(await failure('drain', '--wait', '--timeout', '1')).toMatchObject({ code: 1, error: { code: 'timeout' } });

    expect(await culvert.ok('undrain')).toBe('Host main takes new sandboxes\n');
    expect(await culvert.ok('undrain')).toBe('Host main takes new sandboxes\n');
    expect(await culvert.ok('status')).not.toContain('draining');
    await culvert.ok('create', 'x', '--topology', 'netns');
    await culvert.ok('rm', 'x');
  });
});

describe('a mistake that the daemon finds', () => {
  it.each<[number, string, string[]]>([
    [2, 'invalid_request', ['create', 'x', '--topology', 'netns', '--tx-rate', '1B']],
    [2, 'invalid_sandbox_id', ['create', 'X', '--topology', 'netns']],
    [2, 'invalid_slot', ['leases', 'release', '40000']],
    [2, 'invalid_event_id', ['events', '--after', 'yesterday']],
    [1, 'sandbox_unknown', ['rm', 't-netns', 'nobody']],
    [1, 'lease_unknown', ['leases', 'explain', 'nobody']],
    [1, 'daemon_unreachable', ['ls', '--socket', '/nowhere/api.sock']],
  ])('ends with %d and the code %s for culvert %j, and changes nothing', async (code, kind, parameters) => {
    expect(await failure(...parameters)).toMatchObject({ code, error: { code: kind } });
    expect((await culvert.json<SandboxResource[]>('ls')).map(({ id }) => id)).toEqual([
      't-microvm',
      't-netns',
      't-bridge',
    ]);
  });

  it('is one line on stderr for a person, and so is wrong use', async () => {
    for (const parameters of [
      ['rm', 'nobody'],
      ['create', 'x'],
    ]) {
      const { stdout, stderr } = await culvert.run(...parameters);
      expect(stdout).toBe('');
      expect(stderr).toMatch(/^culvert: Cannot [^\n]+\n$/);
    }
  });
});
