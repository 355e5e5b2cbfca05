import { readdirSync, readlinkSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { OUTSIDE_ADDRESS } from '../lab/host.ts';
import type { FirecrackerResource, SandboxResource, StatusResource } from '../src/api/client/client.ts';
import { failureOf, useCliHost } from './support/cli-host.ts';
import { ended, lineOf } from './support/command-line.ts';

/* Sandboxes on the command line: see the drawing in support/cli-host.ts. */

const ADDRESS = expect.stringMatching(/^\d+\.\d+\.\d+\.\d+$/);

const lab = useCliHost();

describe('culvert create', () => {
  it.each(['microvm', 'netns', 'bridge'] as const)('makes a %s network', async (topology) => {
    const [sandbox] = await lab.culvert.json<SandboxResource[]>(
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
      netns: expect.stringContaining(lab.culvert.runDir),
      hostAddress: ADDRESS,
      guestAddress: topology === 'microvm' ? '169.254.0.21' : sandbox?.hostAddress,
      gateway: ADDRESS,
      mtu: 1420,
      ...(topology === 'microvm' ? { tap: 'tap0' } : {}),
    });
    // In a namespace with a TAP it is the guest that speaks.
    if (topology === 'microvm') {
      const address = await lab.culvert.ok('exec', `t-${topology}`, '--', 'ip', '-br', 'address', 'show', 'tap0');
      expect(address).toMatch(/^tap0 .* 169\.254\.0\.22\/30 *$/m);
      return;
    }
    const ping = ['exec', `t-${topology}`, '--', 'ping', '-c', '1', '-W', '5', OUTSIDE_ADDRESS];
    expect(await lab.culvert.ok(...ping)).toContain('1 received');
    lab.host.run('host', 'ping', '-c', '1', '-W', '5', sandbox?.hostAddress ?? '');
  });

  it('makes several, each its own', async () => {
    const sandboxes = await lab.culvert.json<SandboxResource[]>('create', '--topology', 'netns', '--count', '5');
    expect(new Set(sandboxes.map(({ id }) => id)).size).toBe(5);
    expect(new Set(sandboxes.map(({ hostAddress }) => hostAddress)).size).toBe(5);
    const removed = await lab.culvert.json<object[]>('rm', ...sandboxes.map(({ id }) => id));
    expect(removed).toEqual(sandboxes.map(({ id, slot, generation }) => ({ id, slot, generation })));
  });

  it('makes none where there is no room for all', async () => {
    const before = await lab.culvert.json('ls');
    const many = await failureOf(lab.culvert, 'create', '--topology', 'netns', '--count', '32767');
    expect(many).toMatchObject({ code: 1, error: { code: 'slots_exhausted' } });
    expect(many.error['message']).toMatch(/^Cannot create 32767 sandboxes: \d+ slots are free$/);
    const bridge = await failureOf(lab.culvert, 'create', '--topology', 'bridge', '--count', '300');
    expect(bridge).toMatchObject({ code: 1, error: { code: 'bridge_exhausted' } });
    expect(bridge.error['message']).toMatch(
      /^Cannot create 300 sandboxes: after 250, which are removed: Cannot claim /,
    );
    expect(await lab.culvert.json('ls')).toEqual(before);
  });

  it('makes none where it is interrupted', async () => {
    const count = async (): Promise<number> => (await lab.culvert.json<unknown[]>('ls')).length;
    const before = await count();
    const creation = lab.culvert.spawn('create', '--topology', 'netns', '--count', '3000');
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
    const before = await lab.culvert.json('ls');
    const { pid } = await lab.culvert.json<StatusResource>('status');
    process.kill(pid, 'SIGSTOP');
    try {
      const creation = lab.culvert.spawn('create', '--topology', 'netns', '--count', '3');
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
    expect(await lab.culvert.json('ls')).toEqual(before);
  });

  function socketsOf(pid: number): number {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).filter((fd) => readlinkSync(`${folder}/${fd}`).startsWith('socket:')).length;
  }

  it('returns what exists, and names the difference where it is another', async () => {
    const wanted = ['create', 'same', '--topology', 'netns', '--tx-rate', '200MB', '--deny', '192.0.2.0/24'];
    const first = await lab.culvert.json<SandboxResource[]>(...wanted);
    expect(first).toMatchObject([
      { rates: { transmit: { rate: 200_000_000, burst: 100_000_000 } }, policy: { deny: ['192.0.2.0/24'] } },
    ]);
    expect(await lab.culvert.json(...wanted)).toEqual(first);
    const { code, error } = await failureOf(lab.culvert, 'create', 'same', '--topology', 'netns', '--egress', 'none');
    expect([code, error['code']]).toEqual([1, 'sandbox_exists']);
    expect(error['message']).toMatch(/rates\.transmit none instead of .*policy\.egress none instead of internet/);
    await lab.culvert.ok('rm', 'same');
  });
});

describe('culvert ls and inspect', () => {
  it('show what is there, in a table and in JSON', async () => {
    const sandboxes = await lab.culvert.json<SandboxResource[]>('ls');
    const rows = (await lab.culvert.ok('ls')).trimEnd().split('\n');
    expect(rows[0]).toMatch(/^ID +TOPOLOGY +SLOT +GEN +HOST ADDRESS/);
    expect(rows.slice(1).map((row) => row.split(/ +/)[0])).toEqual(sandboxes.map(({ id }) => id));
    expect(sandboxes.map(({ id }) => id)).toEqual(expect.arrayContaining(['t-microvm', 't-netns', 't-bridge']));

    const one = await lab.culvert.json<SandboxResource>('inspect', 't-microvm');
    expect(sandboxes).toContainEqual(one);
    const words = await lab.culvert.ok('inspect', 't-microvm');
    for (const value of [one.netns, one.hostAddress, one.guestAddress, 'tap0']) expect(words).toContain(value);
  });

  it('describe the guest to Firecracker', async () => {
    const { 'boot-source': source, 'network-interfaces': networks } = JSON.parse(
      await lab.culvert.ok('inspect', 't-microvm', '--firecracker'),
    ) as FirecrackerResource;
    expect(source.boot_args).toBe('ip=169.254.0.21::169.254.0.22:255.255.255.252:t-microvm:eth0:off');
    expect(networks).toMatchObject([
      { host_dev_name: 'tap0', tx_rate_limiter: { bandwidth: { size: 100_000_000, refill_time: 500 } } },
    ]);
    expect(await failureOf(lab.culvert, 'inspect', 't-netns', '--firecracker')).toMatchObject({
      code: 1,
      error: { code: 'not_a_microvm' },
    });
  });
});

describe('culvert exec', () => {
  it('runs a command inside, with its input, output and exit code', async () => {
    const child = lab.culvert.spawn('exec', 't-netns', '--', 'sh', '-c', 'cat; ip -br link; echo trouble >&2; exit 7');
    child.stdin?.end('given\n');
    const { code, stdout, stderr } = await ended(child);
    expect([code, stderr]).toEqual([7, 'trouble\n']);
    expect(stdout).toMatch(/^given\n(.*\n)*eth0@/);
    expect(stdout).not.toContain('cv-main');
  });

  it('leaves the launcher’s variable out of the command’s environment', async () => {
    expect(await lab.culvert.ok('exec', 't-netns', '--', 'sh', '-c', 'echo "<$NODE_COMPILE_CACHE>"')).toBe('<>\n');
  });

  it('passes signals on, and ends by the one that the command ended by', async () => {
    const trap = lab.culvert.spawn(
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

    const killed = lab.culvert.spawn('exec', 't-netns', '--', 'sh', '-c', 'kill -KILL $$');
    await ended(killed);
    expect(killed.signalCode).toBe('SIGKILL');
  });

  it.each([
    [127, ['exec', 't-netns', '--', 'no-such-command']],
    [126, ['exec', 't-netns', '--', '/etc']],
    [1, ['exec', 'nobody', '--', 'true']],
    [2, ['exec', 't-netns']],
  ])('ends with %d for culvert %j', async (code, parameters) => {
    const { code: found, stderr } = await lab.culvert.run(...parameters);
    expect(found).toBe(code);
    expect(stderr).toMatch(/^culvert: Cannot [^\n]+\n$/);
  });
});

describe('culvert set', () => {
  it('changes what a running sandbox may reach', async () => {
    const ping = ['exec', 't-netns', '--', 'ping', '-c', '1', '-W', '1', OUTSIDE_ADDRESS];
    const changed = await lab.culvert.json<SandboxResource>('set', 't-netns', '--egress', 'none');
    expect(changed.policy).toEqual({ egress: 'none', allow: [], deny: [] });
    expect((await lab.culvert.run(...ping)).code).toBe(1);
    await lab.culvert.ok('update', 't-netns', '--allow', `${OUTSIDE_ADDRESS}/32`);
    expect((await lab.culvert.run(...ping)).code).toBe(0);
    const open = await lab.culvert.json<SandboxResource>('set', 't-netns', '--egress', 'open', '--no-allow');
    expect(open.policy).toEqual({ egress: 'open', allow: [], deny: [] });
  });

  it('loses nothing of several at once that change different parts', async () => {
    const set = (...given: string[]): Promise<string> => lab.culvert.ok('set', 't-netns', ...given);
    await Promise.all([
      set('--egress', 'internet'),
      set('--allow', '10.1.0.0/16'),
      set('--deny', '192.0.2.128/25'),
      set('--tx-rate', '1MB'),
      set('--rx-rate', '2MB'),
    ]);
    const { policy, rates } = await lab.culvert.json<SandboxResource>('inspect', 't-netns');
    expect(policy).toEqual({ egress: 'internet', allow: ['10.1.0.0/16'], deny: ['192.0.2.128/25'] });
    expect([rates.transmit?.rate, rates.receive?.rate]).toEqual([1_000_000, 2_000_000]);
    await set('--egress', 'open', '--no-allow', '--no-deny', '--no-tx-rate', '--no-rx-rate');
  });

  it('changes rates one by one, and takes them away', async () => {
    const rates = async (...given: string[]): Promise<SandboxResource['rates']> =>
      (await lab.culvert.json<SandboxResource>('set', 't-microvm', ...given)).rates;
    expect(await rates('--tx-rate', '8Mbit')).toEqual({ transmit: { rate: 1_000_000, burst: 500_000 } });
    const both = { transmit: { rate: 1_000_000, burst: 131_072 }, receive: { rate: 2_000_000, burst: 100_000 } };
    expect(await rates('--tx-burst', '128KiB', '--rx-rate', '2MB', '--rx-burst', '100kB')).toEqual(both);
    const { netns } = await lab.culvert.json<SandboxResource>('inspect', 't-microvm');
    const qdiscs = JSON.parse(lab.host.run(netns, 'tc', '-j', 'qdisc', 'show')) as { kind: string; dev: string }[];
    expect(
      qdiscs
        .filter(({ kind }) => kind === 'tbf')
        .map(({ dev }) => dev)
        .toSorted(),
    ).toEqual(['eth0', 'tap0']);
    expect(await rates('--tx-rate', '2MB')).toEqual({ ...both, transmit: { rate: 2_000_000, burst: 1_000_000 } });
    expect(await rates('--no-tx-rate', '--no-rx-rate')).toEqual({});
    expect(lab.host.run(netns, 'tc', 'qdisc', 'show')).not.toContain('tbf');
  });
});
