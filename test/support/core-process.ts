import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Core } from '../../src/daemon/core.ts';
import { parseSandboxId, parseSlot, type Topology } from '../../src/ipam/lease.ts';
import { DEFAULT_LAYOUT } from '../../src/sandbox/topology/layout.ts';

/*
 * A core in a process of its own, so that the process can be killed: `core-process.ts FOLDER COMMAND TOPOLOGY`.
 *
 * The command proper runs under strace(1), with the options in STRACE, which can list its system calls or send a
 * signal at one of them. Prints one line of JSON when it is done.
 */

const [folder = '', command = '', topology = 'netns'] = process.argv.slice(2);
const pool = command === 'warm' ? 1 : 0;
const idle = new Int32Array(new SharedArrayBuffer(4));

function pause_ms(time: number): void {
  Atomics.wait(idle, 0, 0, time);
}

function isTraced(): boolean {
  return !/^TracerPid:\s+0$/m.test(readFileSync('/proc/thread-self/status', 'utf8'));
}

/** From here on strace(1) looks on. */
function begin(): void {
  const options = process.env['STRACE'];
  if (options === undefined) return;
  const parameters = ['-q', '-p', String(process.pid), ...options.split(' ')];
  // It ends after this process, which must not wait for it.
  spawn('strace', parameters, { stdio: 'ignore', detached: true }).unref();
  for (let wait = 0; !isTraced(); wait++) {
    if (wait > 2000) throw new Error('strace did not attach');
    pause_ms(5);
  }
}

if (command === 'adopt') begin();
const core = new Core({
  host: { instance: 'kill', layout: { ...DEFAULT_LAYOUT, mtu: 1420 }, uplink: 'eth0' },
  version: '0',
  stateDir: join(folder, 'state'),
  runDir: join(folder, 'run'),
  slots: { first: parseSlot(1), last: parseSlot(64) },
  poolSizes: { microvm: 0, netns: 0, bridge: 0, [topology]: pool },
  quarantineFloor_ms: 0,
  emit: () => undefined,
});

const victim = parseSandboxId('victim');

function create(id: string): void {
  const policy = { egress: 'open', allow: [], deny: [] } as const;
  const rates = { receive: { rate: 1_000_000, burst: 100_000 } };
  core.create([{ id: parseSandboxId(id), specification: { topology: topology as Topology, rates, policy } }]);
}

/** Until nothing is left to do, or it never ends. */
function settle(): void {
  for (let step = 0; step < 5000; step++) {
    const more = core.step();
    const { removing, quarantined, adopting } = core.status();
    if (!more && removing === 0 && quarantined === 0 && !adopting) return;
    pause_ms(1);
  }
  throw new Error(`Not settled: ${JSON.stringify(core.status())}`);
}

/** Of an earlier run, which was killed once it had it. */
function removeVictim(): void {
  core.remove(core.list().flatMap(({ id }) => (id === victim ? [id] : [])));
  settle();
}

function report(): void {
  const { plan } = core.reconcile({ dryRun: true });
  const text = JSON.stringify({ sandboxes: core.list(), leases: core.leases(), plan });
  writeFileSync(1, `${text}\n`);
}

switch (command) {
  case 'prepare':
    create('bystander');
    break;
  case 'create':
    removeVictim();
    begin();
    create(victim);
    break;
  case 'warm':
    removeVictim();
    begin();
    create(victim);
    break;
  case 'remove':
    create(victim);
    settle();
    begin();
    core.remove([victim]);
    settle();
    break;
  case 'adopt':
    settle();
    break;
  case 'audit':
    settle();
    report();
    break;
  default:
    throw new Error(`Unknown command ${command}`);
}
core[Symbol.dispose]();
