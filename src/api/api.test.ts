import { lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CulvertClient as ExportedClient } from 'culvert';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MemoryDaemon } from '../../test/support/memory-daemon.ts';
import { MemoryEngine } from '../../test/support/memory-engine.ts';
import { parseIpv4 } from '../addr/ipv4.ts';
import { parsePrefix } from '../addr/prefix.ts';
import { CulvertError, InputError } from '../errors.ts';
import { keyOf } from '../plan/wireguard/key.ts';
import { CulvertClient } from './client/client.ts';

let daemon: MemoryDaemon;
let client: CulvertClient;
beforeEach(async () => {
  daemon = await MemoryDaemon.start({ engine: new MemoryEngine({ slots: 50, floorMs: 60_000 }) });
  client = daemon.client;
});
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
});

describe('the hosts', () => {
  it('are none where the host is in no cluster', async () => {
    await expect(client.hosts()).rejects.toMatchObject({ code: 'no_cluster' });
    await expect(client.removeHost('h1')).rejects.toMatchObject({ code: 'no_cluster' });
  });

  it('are listed, and removed where they are gone', async () => {
    const host = { isSelf: false, generation: 1, version: '1', subnet: parsePrefix('10.64.16.0/20') };
    const mesh = {
      address: parseIpv4('192.0.2.2'),
      clearPort: 51_830,
      keys: [{ rotation: 0, publicKey: keyOf(new Uint8Array(32)), port: 51_820 }],
      mtu: 1420,
      isDraining: true,
    };
    daemon.engine.cluster = [
      { ...host, name: 'h1', isAlive: true, mesh },
      { ...host, name: 'h2', isAlive: false, problem: 'it is of another world' },
    ];
    const told = { isSelf: false, isDraining: false, generation: 1, version: '1', subnet: '10.64.16.0/20' };
    const told1 = { publicKey: keyOf(new Uint8Array(32)), endpoint: '192.0.2.2:51820', mtu: 1420 };
    const first = { ...told, name: 'h1', isAlive: true, isDraining: true, ...told1 };
    expect(await client.hosts()).toEqual([
      first,
      { ...told, name: 'h2', isAlive: false, problem: 'it is of another world' },
    ]);
    await expect(client.removeHost('h1')).rejects.toMatchObject({ code: 'host_alive' });
    await expect(client.removeHost('h3')).rejects.toMatchObject({ code: 'host_unknown' });
    await client.removeHost('h2');
    expect(await client.hosts()).toEqual([first]);
  });
});

describe('the sandboxes', () => {
  it('are created, listed, read, changed and removed', async () => {
    const [made] = await client.create({ id: 'a1', topology: 'microvm' });
    expect(made).toMatchObject({
      id: 'a1',
      generation: 1,
      slot: 1,
      hostAddress: '10.11.0.1',
      guestAddress: '169.254.0.21',
      gateway: '169.254.0.22',
      dns: '10.12.0.1',
      mac: '02:fc:00:00:00:06',
      tap: 'tap0',
      mtu: 1420,
      policy: { egress: 'internet', allow: [], deny: [] },
    });
    expect(await client.list()).toEqual([made]);
    expect(await client.inspect('a1')).toEqual(made);

    const policy = { egress: 'none' as const, allow: ['192.0.2.7', '10.1.0.0/16'] };
    const changed = await client.update('a1', { policy, rates: { transmit: { rate: 1_000_000 } } });
    expect(changed.policy).toEqual({ egress: 'none', allow: ['10.1.0.0/16', '192.0.2.7/32'], deny: [] });
    expect(changed.rates).toEqual({ transmit: { rate: 1_000_000, burst: 500_000 } });
    expect(await client.inspect('a1')).toEqual(changed);

    expect(await client.remove(['a1', 'a1'])).toEqual([{ id: 'a1', generation: 1, slot: 1 }]);
    expect(await client.list()).toEqual([]);
  });

  it('change part by part, whoever else changes another part', async () => {
    await client.create({ id: 'a1', topology: 'netns', policy: { egress: 'open', deny: ['192.0.2.0/24'] } });
    await Promise.all([
      client.update('a1', { policy: { egress: 'none' } }),
      client.update('a1', { policy: { allow: ['10.1.0.0/16'] } }),
      client.update('a1', { policy: { deny: null } }),
      client.update('a1', { rates: { transmit: { rate: 1_000_000 } } }),
      client.update('a1', { rates: { receive: { rate: 2_000_000, burst: 70_000 } } }),
    ]);
    const { policy, rates } = await client.inspect('a1');
    expect(policy).toEqual({ egress: 'none', allow: ['10.1.0.0/16'], deny: [] });
    expect(rates).toEqual({
      transmit: { rate: 1_000_000, burst: 500_000 },
      receive: { rate: 2_000_000, burst: 70_000 },
    });
    expect((await client.update('a1', { rates: { transmit: { burst: 80_000 }, receive: null } })).rates).toEqual({
      transmit: { rate: 1_000_000, burst: 80_000 },
    });
    expect((await client.update('a1', { rates: null })).rates).toEqual({});
    const burst = client.update('a1', { rates: { receive: { burst: 80_000 } } });
    await expect(burst).rejects.toMatchObject({ code: 'invalid_rate', field: 'rates.receive.rate' });
    const prefix = client.update('a1', { policy: { allow: ['10.0.0.0/8', '10.0.0.1/8'] } });
    await expect(prefix).rejects.toMatchObject({ code: 'invalid_prefix', field: 'policy.allow[1]' });
    expect(await client.inspect('a1')).toMatchObject({ policy, rates: {} });
  });

  it('are the same for the same id and specification, and an error otherwise', async () => {
    const first = await client.create({ id: 'a1', topology: 'netns' });
    expect(await client.create({ id: 'a1', topology: 'netns' })).toEqual(first);
    const other = client.create({ id: 'a1', topology: 'bridge' });
    await expect(other).rejects.toThrow(InputError);
    await expect(other).rejects.toMatchObject({ code: 'sandbox_exists', message: expect.stringContaining('topology') });
  });

  it('come in numbers, all or none', async () => {
    expect(await client.create({ topology: 'bridge', count: 20 })).toHaveLength(20);
    const more = client.create({ topology: 'netns', count: 31 });
    await expect(more).rejects.toMatchObject({ name: 'CulvertError', code: 'slots_exhausted' });
    expect(await client.list()).toHaveLength(20);
  });

  it('are removed all or none', async () => {
    await client.create({ id: 'a1', topology: 'netns' });
    await expect(client.remove(['a1', 'b1'])).rejects.toMatchObject({ code: 'sandbox_unknown' });
    expect(await client.list()).toHaveLength(1);
  });

  it('take what the config says where the request says nothing', async () => {
    const topology = { netns: { policy: { egress: 'open' }, rates: { receive: { rate: 5000, burst: 70_000 } } } };
    await using other = await MemoryDaemon.start({ config: { topology } });
    const [plain] = await other.client.create({ topology: 'netns' });
    expect(plain).toMatchObject({ policy: { egress: 'open' }, rates: { receive: { rate: 5000, burst: 70_000 } } });
    const [own] = await other.client.create({ topology: 'netns', rates: {}, policy: { egress: 'none' } });
    expect(own).toMatchObject({ policy: { egress: 'none' }, rates: {} });
  });

  it('take the config’s for the parts of a policy that the request leaves away', async () => {
    const topology = { netns: { policy: { egress: 'none', allow: ['10.1.0.0/16'] } } };
    await using other = await MemoryDaemon.start({ config: { topology } });
    const [part] = await other.client.create({ topology: 'netns', policy: { deny: ['10.1.2.0/24'] } });
    expect(part?.policy).toEqual({ egress: 'none', allow: ['10.1.0.0/16'], deny: ['10.1.2.0/24'] });
    const [rest] = await other.client.create({ topology: 'netns', policy: { egress: 'open', allow: [] } });
    expect(rest?.policy).toEqual({ egress: 'open', allow: [], deny: [] });
    const wrong = other.client.create({ topology: 'netns', policy: { deny: ['10.1.2.0/24', '10.1.2.1/24'] } });
    await expect(wrong).rejects.toMatchObject({ code: 'invalid_prefix', field: 'policy.deny[1]' });
  });

  it('are described to Firecracker, where there is a guest', async () => {
    await client.create({ id: 'a1', topology: 'microvm', rates: { receive: { rate: 1_000_000 } } });
    expect(await client.firecracker('a1')).toMatchObject({
      'boot-source': { boot_args: 'ip=169.254.0.21::169.254.0.22:255.255.255.252:a1:eth0:off' },
      'network-interfaces': [{ host_dev_name: 'tap0', rx_rate_limiter: { bandwidth: { size: 500_000 } } }],
    });
    await client.create({ id: 'b1', topology: 'netns' });
    await expect(client.firecracker('b1')).rejects.toMatchObject({ code: 'not_a_microvm' });
  });
});

describe('the leases', () => {
  it('are listed, explained and released', async () => {
    await client.create({ id: 'a1', topology: 'netns' });
    await client.create({ id: 'b1', topology: 'netns' });
    await client.remove(['a1']);
    const [quarantined, ready] = await client.leases();
    expect(ready).toMatchObject({ slot: 2, state: 'ready', sandboxId: 'b1' });
    expect(quarantined).toMatchObject({ slot: 1, state: 'quarantined', quarantine: { reason: 'removed' } });
    expect(quarantined?.quarantine?.dueInMs).toBeGreaterThan(1000);
    expect(await client.lease(2)).toEqual(ready);
    await expect(client.release(1, { force: false })).rejects.toMatchObject({ code: 'lease_state' });
    expect(await client.release(1, { force: true })).toEqual({ slot: 1, generation: 1, state: 'free' });
    await expect(client.lease(1)).rejects.toMatchObject({
      code: 'lease_unknown',
      message: expect.stringMatching(/slot 1.*free/),
    });
    await expect(client.lease(40_000)).rejects.toMatchObject({ code: 'invalid_slot', field: 'slot' });
  });
});

describe('the host', () => {
  it('says how it is', async () => {
    await client.create({ topology: 'bridge', count: 3 });
    expect(await client.status()).toMatchObject({ live: { microvm: 0, netns: 0, bridge: 3 }, freeSlots: 47 });
  });

  it('takes no new sandboxes while it is draining, and keeps those that it has', async () => {
    await client.create({ id: 'a1', topology: 'netns' });
    const { drainingSinceWallMs } = await client.drain();
    expect(drainingSinceWallMs).toBeGreaterThan(Date.now() - 60_000);
    expect(await client.drain()).toMatchObject({ drainingSinceWallMs });
    await expect(client.create({ id: 'b1', topology: 'netns' })).rejects.toMatchObject({ code: 'draining' });
    await client.create({ id: 'a1', topology: 'netns' });
    await client.update('a1', { policy: { egress: 'none' } });
    expect(await client.metrics()).toContain('\nculvert_draining 1\n');
    await client.remove(['a1']);
    expect(await client.undrain()).not.toHaveProperty('drainingSinceWallMs');
    await client.create({ id: 'b1', topology: 'netns' });
  });

  it('is reconciled, or says what that would do', async () => {
    daemon.engine.drift(['ip -n router route add 10.11.0.1 dev s1']);
    const plan = ['ip -n router route add 10.11.0.1 dev s1'];
    expect(await client.reconcile({ dryRun: true })).toEqual({ plan, applied: false });
    expect(await client.reconcile({ dryRun: false })).toEqual({ plan, applied: true });
    expect(await client.reconcile({ dryRun: true })).toEqual({ plan: [], applied: false });
  });

  it('stops when it is asked to, and takes its socket and process id along', async () => {
    await client.create({ id: 'a1', topology: 'netns' });
    const { socketPath } = daemon;
    const pidFile = join(daemon.folder, 'culvert.pid');
    expect(readFileSync(pidFile, 'utf8')).toBe(`${process.pid}\n`);
    expect(await client.shutdown({ purge: false })).toEqual({ pid: process.pid, purged: false });
    await daemon.closed;
    for (const path of [socketPath, pidFile]) expect(lstatSync(path, { throwIfNoEntry: false })).toBeUndefined();
    await expect(client.list()).rejects.toMatchObject({
      code: 'daemon_unreachable',
      message: expect.stringContaining('culvert up'),
    });
  });

  it('removes everything first where that is asked', async () => {
    await client.create({ topology: 'netns', count: 3 });
    const removed: string[] = [];
    daemon.engine.subscribe(({ type }) => removed.push(type));
    expect(await client.shutdown({ purge: true })).toMatchObject({ purged: true });
    await daemon.closed;
    expect(removed).toEqual(['sandbox.removed', 'sandbox.removed', 'sandbox.removed']);
  });
});

describe('failures of the engine', () => {
  it.each([
    [new CulvertError('store_full', 'Cannot write leases: its disk is full'), 'store_full', 0],
    [new CulvertError('kernel_refused', 'Cannot create s1: EPERM'), 'kernel_refused', 0],
    [new TypeError('secret of the house'), 'internal', 1],
  ])('%s reach the caller with their code', async (trouble, code) => {
    daemon.engine.trouble = trouble;
    const failed = client.create({ topology: 'netns' });
    await expect(failed).rejects.toMatchObject({ name: 'CulvertError', code });
    await expect(failed).rejects.not.toThrow(/secret/);
    expect(daemon.reports).toEqual([trouble]);
  });
});

describe('the unix socket', () => {
  it('is of its owner alone', () => {
    const status = lstatSync(daemon.socketPath);
    expect(status.isSocket()).toBe(true);
    expect((status.mode & 0o777).toString(8)).toBe('600');
  });

  it('is reached by the client that the package exports', async () => {
    using exported = new ExportedClient({ socketPath: daemon.socketPath });
    expect(await exported.list()).toEqual([]);
  });
});

describe('/metrics', () => {
  it('are Prometheus text with what was done', async () => {
    await client.create({ topology: 'microvm', count: 2 });
    await client.inspect('nobody').catch(() => {});
    const lines = (await client.metrics()).split('\n');
    expect(lines).toContain('culvert_sandboxes{topology="microvm"} 2');
    expect(lines).toContain('culvert_events_total{type="sandbox.created"} 2');
    expect(lines).toContain(
      'culvert_http_request_duration_seconds_count{method="GET",route="/v1/sandboxes/:id",status="404"} 1',
    );
    const sample = /^[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.e+-]+$/;
    for (const line of lines) expect(line === '' || line.startsWith('# ') || sample.test(line), line).toBe(true);
  });
});
