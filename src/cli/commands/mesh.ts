import { setTimeout as pause } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import type { CulvertClient, EpochResource, MeshBody, MeshResource } from '../../api/client/client.ts';
import { CulvertError, InputError } from '../../errors.ts';
import { addClientCommand, type Common, clientOf, integer } from '../command.ts';
import { livenessWord } from '../liveness.ts';
import { print, printFields, printJson, printTable } from '../output.ts';
import { roundedBytes } from '../units.ts';

const WAIT_S = 120;
const LOOK_MS = 100;

export function addMesh(program: Command): void {
  const mesh = addClientCommand(program, {
    usage: 'mesh',
    summary: 'Show, and change, how the hosts send to each other',
    examples: [
      ['culvert mesh status', 'how far a change has come, and what passes to each host'],
      ['culvert mesh encrypt off --wait', 'send in clear from now on, without a loss on the way'],
      ['culvert mesh rotate', 'new keys on all hosts'],
    ],
  }).action(status);
  addClientCommand(mesh, {
    usage: 'status',
    summary: 'Show how far each host has come, and what passes between this one and the others',
    details:
      'EPOCH, REACHED and WAITS FOR say how far each host has told that it has come with the last change, and whom it waits for: phase drop is behind it when it is done. SENDS and HEARS say how this host sends to the other and that one to this. PATH MTU is the largest IP packet that passes there and back, found by asking with real sizes. HANDSHAKE, RECEIVED and SENT are of WireGuard.',
    examples: [['culvert mesh status --json | jq .epoch', 'for a program']],
  }).action(status);
  addWaiting(
    addClientCommand(mesh, {
      usage: 'encrypt <on|off>',
      summary: 'Switch encryption between hosts on or off, in a running cluster',
      details:
        'First all hosts take in both ways; then each sends the new way to whom a packet of full size has gone and come back by it; then the old way is refused. Nothing is lost on the way, and what is interrupted goes on.',
      examples: [['culvert mesh encrypt on --wait', 'returns when no host sends in clear any more']],
    }),
  ).action(encrypt);
  addWaiting(
    addClientCommand(mesh, {
      usage: 'rotate',
      summary: 'Give all hosts new keys, while they go on',
      examples: [['culvert mesh rotate --wait', 'returns when the old ones are no more in use']],
    }),
  ).action(rotate);
  addWaiting(
    addClientCommand(mesh, {
      usage: 'mtu <bytes>',
      summary: 'Agree on the largest packet between sandboxes of different hosts, and of all their links',
      details:
        'Lowered, all hosts send smaller packets before any takes no larger ones; raised, all take larger packets before any sends them, and to whom a large one has not gone yet they go as before. What runs goes on.',
      examples: [['culvert mesh mtu 1320 --wait', 'make room for a host whose uplink carries less']],
    }),
  ).action(resize);
  addWaiting(
    addClientCommand(mesh, {
      usage: 'when-down <what>',
      summary: 'Say what becomes of packets to a host that WireGuard does not reach',
      details: '`wait`, as it is by default: they wait for WireGuard, and are lost. `clear`: they go in clear.',
      examples: [['culvert mesh when-down wait', 'nothing goes in clear']],
    }),
  ).action(whenDown);
}

type Waiting = { readonly wait?: true; readonly timeout: number };

function addWaiting(command: Command): Command {
  return command
    .addOption(new Option('--wait', 'return when all hosts have come there'))
    .option('--timeout <seconds>', 'wait no longer', integer('--timeout'), WAIT_S);
}

async function status(_own: object, command: Command): Promise<void> {
  const { json, ...options } = command.optsWithGlobals<Common>();
  using client = clientOf(options);
  const mesh = await client.mesh();
  if (json) printJson(mesh);
  else printMesh(mesh);
}

async function encrypt(what: string, _own: object, command: Command): Promise<void> {
  if (what !== 'on' && what !== 'off')
    throw new InputError('usage', `Cannot switch encryption ${what}: want on or off`);
  await change(command, { encrypts: what === 'on' });
}

async function rotate(_own: object, command: Command): Promise<void> {
  await change(command, { rotates: true });
}

async function resize(bytes: string, _own: object, command: Command): Promise<void> {
  await change(command, { mtu: integer('mtu')(bytes) });
}

async function whenDown(what: string, _own: object, command: Command): Promise<void> {
  if (what !== 'wait' && what !== 'clear') {
    throw new InputError('usage', `Cannot let packets ${what}: want wait or clear`);
  }
  await change(command, { whenDown: what });
}

async function change(command: Command, wish: MeshBody): Promise<void> {
  const { json, wait, timeout, ...options } = command.optsWithGlobals<Common & Waiting>();
  using client = clientOf(options);
  const begun = await client.changeMesh(wish);
  const epoch = wait ? await untilDone(client, begun.number, timeout) : begun;
  if (json) printJson(epoch);
  else print(epochText(epoch));
}

/** @throws CulvertError `timeout` naming who lags */
async function untilDone(client: CulvertClient, number: number, seconds: number): Promise<EpochResource> {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- one look after the other
    const { epoch, progress } = await client.mesh();
    if (epoch.number > number || (epoch.number === number && epoch.phase === 'done')) return epoch;
    if (performance.now() >= deadline) {
      const late = lateHosts(progress, number);
      const message = `Epoch ${number} is in phase ${epoch.phase} after ${seconds} s, and goes on; waited for: ${late.join(', ') || 'all hosts'}; see culvert mesh status there, and culvert status`;
      throw new CulvertError('timeout', message);
    }
    // oxlint-disable-next-line no-await-in-loop -- likewise
    await pause(LOOK_MS);
  }
}

/** Those that others wait for, and of those that are alive the ones that have not said a word of it. */
function lateHosts(progress: MeshResource['progress'], number: number): string[] {
  const waitedFor = new Set(progress.flatMap(({ isAlive, waitsFor }) => (isAlive === false ? [] : waitsFor)));
  return progress
    .filter((host) => waitedFor.has(host.name) || (host.isAlive === true && host.number !== number))
    .map(({ name }) => name);
}

function epochText({ number, phase, encrypts, rotation, mtu }: EpochResource): string {
  const what = encrypts ? `encrypted, keys of rotation ${rotation}` : 'in clear';
  return `Epoch ${number}: ${what}, packets of ${mtu} bytes; ${phase === 'done' ? 'done' : `phase ${phase}`}`;
}

function printMesh({ epoch, progress, peers }: MeshResource): void {
  printFields([
    ['epoch', String(epoch.number)],
    ['phase', epoch.phase],
    ['hosts send', epoch.encrypts ? `encrypted, with the keys of rotation ${epoch.rotation}` : 'in clear'],
    ['packets', `up to ${epoch.mtu} bytes${epoch.phase === 'done' ? '' : `, before ${epoch.formerMtu}`}`],
    ['to one that is down', epoch.whenDown === 'wait' ? 'not at all' : 'in clear'],
  ]);
  print('');
  const ago = (ms: number | undefined): string => (ms === undefined ? 'never' : `${Math.round(ms / 1000)} s ago`);
  const known = new Map(peers.map((peer) => [peer.name, peer]));
  printTable(
    [
      'HOST',
      'STATE',
      'EPOCH',
      'REACHED',
      'WAITS FOR',
      'SENDS',
      'HEARS',
      'PATH MTU',
      'LATENCY',
      'HANDSHAKE',
      'RECEIVED',
      'SENT',
    ],
    progress.map(({ name, isAlive, number, reached, waitsFor }) => {
      const peer = known.get(name);
      const state = peer === undefined ? 'this one' : livenessWord(isAlive);
      const come = [String(number ?? '-'), reached ?? '-', waitsFor.join(' ') || '-'];
      if (peer === undefined) return [name, state, ...come, ...Array.from({ length: 7 }, () => '-')];
      const mtu = `${peer.pathMtu ?? '?'}/${peer.pathMtuBack ?? '?'}`;
      const latency = peer.roundTripMs === undefined ? '-' : `${peer.roundTripMs.toFixed(1)} ms`;
      const bytes = [roundedBytes(peer.received), roundedBytes(peer.sent)];
      return [
        name,
        state,
        ...come,
        peer.isWrapped === true ? 'clear, wrapped' : (peer.sends ?? '-'),
        peer.hears ?? '-',
        mtu,
        latency,
        ago(peer.handshakeMsAgo),
        ...bytes,
      ];
    }),
  );
}
