import { setTimeout as pause } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import type { LeaseResource, ReconcileResult, SandboxResource, StatusResource } from '../src/api/client/client.ts';
import { failureOf, useCliHost } from './support/cli-host.ts';
import { ended, lineOf } from './support/command-line.ts';

/* A daemon on the command line: see the drawing in support/cli-host.ts. */

const lab = useCliHost();

beforeAll(async () => {
  for (const topology of ['microvm', 'netns', 'bridge']) {
    // oxlint-disable-next-line no-await-in-loop -- one slot after the other
    await lab.culvert.ok('create', `t-${topology}`, '--topology', topology);
  }
});

describe('culvert leases', () => {
  it('list and explain who has a slot, and who had it last', async () => {
    const [sandbox] = await lab.culvert.json<SandboxResource[]>('create', 'lessee', '--topology', 'netns');
    const slot = String(sandbox?.slot);
    const held = await lab.culvert.json<LeaseResource>('leases', 'explain', slot);
    expect(held).toMatchObject({ slot: sandbox?.slot, state: 'ready', sandboxId: 'lessee', generation: 1 });
    expect(await lab.culvert.json('leases', 'explain', 'lessee')).toEqual([held]);
    expect(await lab.culvert.json<LeaseResource[]>('leases')).toContainEqual(held);
    expect(await lab.culvert.ok('leases')).toMatch(new RegExp(`^${slot} +1 +ready +lessee +netns`, 'm'));

    await lab.culvert.ok('rm', 'lessee');
    const sentence = await lab.culvert.ok('leases', 'explain', slot);
    expect(sentence).toMatch(new RegExp(`^Slot ${slot} (is removing|rests .*: removed; free|is free)`));
    expect(await lab.culvert.json('leases', 'explain', '32000')).toEqual({ slot: 32_000, state: 'free' });
    expect(await failureOf(lab.culvert, 'leases', 'release', '32000', '--force')).toMatchObject({
      code: 1,
      error: { code: 'lease_state' },
    });
  });
});

describe('culvert reconcile', () => {
  it('says what differs and, when it is told to, repairs it', async () => {
    const { hostAddress } = await lab.culvert.json<SandboxResource>('inspect', 't-netns');
    const router = `${lab.culvert.runDir}/netns/router`;
    const route = (): string => lab.host.run(router, 'ip', 'route', 'show', `${hostAddress}/32`);
    expect(await lab.culvert.json('reconcile', '--dry-run')).toEqual({ plan: [], applied: false });
    lab.host.run(router, 'ip', 'route', 'delete', `${hostAddress}/32`);
    const plan = (await lab.culvert.ok('reconcile', '--dry-run')).trimEnd().split('\n');
    expect(plan).toEqual([expect.stringMatching(new RegExp(`route.*${hostAddress}`))]);
    expect(route()).toBe('');
    expect(await lab.culvert.json<ReconcileResult>('reconcile')).toEqual({ plan, applied: true });
    expect(route()).toContain(hostAddress);
    expect(await lab.culvert.run('reconcile')).toMatchObject({ code: 0, stdout: '' });
  });
});

describe('culvert events', () => {
  it('follows what happens, in lines and in JSON, and ends when it is told to', async () => {
    const streams = [lab.culvert.spawn('events', '--type', 'sandbox.'), lab.culvert.spawn('events', '--json')];
    const [words, json] = streams.map(ended);
    while ((await lab.culvert.json<object[]>('ls')).length > 0 && !(await streamsOpen(2))) await pause(50);
    const seen = streams.map((stream) => lineOf(stream, /removed/));
    await lab.culvert.ok('create', 'eventful', '--topology', 'netns');
    await lab.culvert.ok('rm', 'eventful');
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
    const metrics = lab.host.run('host', 'curl', '-s', '--unix-socket', lab.culvert.socket, 'http://culvert/metrics');
    return metrics.includes(`culvert_event_streams ${count}\n`);
  }
});

describe('culvert bench', () => {
  it('measures, and leaves nothing', async () => {
    const before = await lab.culvert.json('ls');
    const result = await lab.culvert.json('bench', '--count', '5', '--parallel', '2', '--topology', 'bridge');
    const figures = { count: 5, perSecond: expect.any(Number), p50Ms: expect.any(Number), p99Ms: expect.any(Number) };
    expect(result).toMatchObject({ topology: 'bridge', parallel: 2, create: figures, remove: figures });
    expect(await lab.culvert.ok('bench', '--count', '2')).toMatch(/^WHAT .*\ncreate netns +2 .*\nremove netns +2 /);
    expect(await lab.culvert.json('ls')).toEqual(before);
  });
});

describe('culvert status', () => {
  it('says how it is', async () => {
    const status = await lab.culvert.json<StatusResource>('status');
    expect(status).toMatchObject({ name: 'main', mtu: 1420, live: { microvm: 1, netns: 1, bridge: 1 }, problems: [] });
    expect(await lab.culvert.ok('status')).toMatch(/^daemon +main .*\nlive +3 \(microvm 1, netns 1, bridge 1\)\n/);
  });
});

describe('culvert drain', () => {
  it('keeps new sandboxes away, over a restart too, waits for those that run, and is taken back', async () => {
    expect(await lab.culvert.ok('drain')).toBe('Host main takes no new sandboxes; 3 run on\n');
    expect(await failureOf(lab.culvert, 'create', 'x', '--topology', 'netns')).toMatchObject({
      code: 1,
      error: { code: 'draining', message: expect.stringMatching(/on another host, .* culvert undrain$/) },
    });
    // what is there already is as it is asked for
    await lab.culvert.ok('set', 't-netns', '--egress', 'none');
    await lab.culvert.kill('SIGKILL');
    await lab.culvert.up();
    expect(await lab.culvert.ok('status')).toMatch(/\ndraining +no new sandboxes, since /);
    expect(await failureOf(lab.culvert, 'create', 'x', '--topology', 'netns')).toMatchObject({
      error: { code: 'draining' },
    });
    expect(await failureOf(lab.culvert, 'drain', '--wait', '--timeout', '1')).toMatchObject({
      code: 1,
      error: { code: 'timeout' },
    });

    expect(await lab.culvert.ok('undrain')).toBe('Host main takes new sandboxes\n');
    expect(await lab.culvert.ok('undrain')).toBe('Host main takes new sandboxes\n');
    expect(await lab.culvert.ok('status')).not.toContain('draining');
    await lab.culvert.ok('create', 'x', '--topology', 'netns');
    await lab.culvert.ok('rm', 'x');
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
    expect(await failureOf(lab.culvert, ...parameters)).toMatchObject({ code, error: { code: kind } });
    expect((await lab.culvert.json<SandboxResource[]>('ls')).map(({ id }) => id)).toEqual([
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
      const { stdout, stderr } = await lab.culvert.run(...parameters);
      expect(stdout).toBe('');
      expect(stderr).toMatch(/^culvert: Cannot [^\n]+\n$/);
    }
  });
});
