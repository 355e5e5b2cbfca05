import type { MeshBody } from '../../../src/api/client/client.ts';
import { msText } from '../../figures.ts';
import { pause } from '../../pace.ts';
import type { ClusterStage } from '../stage.ts';
import type { Traffic } from '../traffic.ts';
import { untilHosts } from '../wait.ts';
import type { Seen, Wire } from '../wire.ts';

/** ms that traffic runs before and after a change, so that it goes both ways */
const AROUND_MS = 700;

/** Switches encryption on or off under load, and shows what whoever is on the wire sees after that. */
export async function encrypt(stage: ClusterStage, traffic: Traffic, wire: Wire, encrypts: boolean): Promise<void> {
  const word = encrypts ? 'on' : 'off';
  stage.narrator.act(`culvert mesh encrypt ${word}, under load`);
  await change(stage, traffic, { encrypts }, `encryption ${word}`);
  await proveOnWire(stage, traffic, wire, encrypts);
}

/** Gives all hosts new keys under load. */
export async function rotate(stage: ClusterStage, traffic: Traffic): Promise<void> {
  stage.narrator.act('culvert mesh rotate, under load');
  const keys = (): Promise<(string | undefined)[]> =>
    stage
      .host('h1')
      .daemon.client.hosts()
      .then((hosts) => hosts.map(({ publicKey }) => publicKey));
  const before = await keys();
  await change(stage, traffic, { rotates: true }, 'keys rotated');
  const after = await keys();
  stage.narrator.prove({
    claim: 'each host has another key',
    done: 'compared the public keys of GET /v1/hosts with those of before',
    seen: after.map((key) => key?.slice(0, 8)).join(', '),
    observed: new Set([...before, ...after]).size,
    expected: 2 * stage.hosts.length,
  });
}

async function change(stage: ClusterStage, traffic: Traffic, wish: MeshBody, what: string): Promise<void> {
  await traffic.go();
  await pause(AROUND_MS);
  const begin = performance.now();
  const [first] = stage.hosts;
  const { number } = (await first?.daemon.client.changeMesh(wish)) ?? {};
  await untilHosts(stage, () => isDone(stage, number), `epoch ${number} to be done on all hosts`);
  const tookMs = performance.now() - begin;
  stage.narrator.say(`epoch ${number} is done on all hosts after ${msText(tookMs)}`);
  stage.figures.add(what, msText(tookMs), 'until all three hosts were done with it, under load');
  await pause(AROUND_MS);
  await traffic.proveWhole('meanwhile');
}

async function isDone({ hosts }: ClusterStage, number: number | undefined): Promise<boolean> {
  const meshes = await Promise.all(hosts.map(({ daemon }) => daemon.client.mesh()));
  return meshes.every(({ epoch, peers }) => {
    const word = epoch.encrypts ? 'encrypted' : 'clear';
    const isThere = peers.every(({ sends, acceptsClear }) => sends === word && acceptsClear === !epoch.encrypts);
    return epoch.number === number && epoch.phase === 'done' && isThere;
  });
}

/** All that is between two rests is counted on the wire. */
export async function proveOnWire(stage: ClusterStage, traffic: Traffic, wire: Wire, encrypts: boolean): Promise<void> {
  const sentBefore = await traffic.restDatagrams();
  const before = wire.seen();
  await traffic.go();
  await pause(AROUND_MS);
  await traffic.proveWhole(encrypts ? 'while all is encrypted' : 'while all is in clear');
  const sent = (await traffic.restDatagrams()) - sentBefore;
  const seen = difference(wire.seen(), before);
  stage.narrator.prove({
    claim: encrypts ? 'on the wire nothing is to be read' : 'on the wire everything is to be read',
    done: `sent ${sent} datagrams between h1 and h2, all else meanwhile, and counted what hosts send`,
    seen: `${seen.pair} of them were to be read, ${seen.clear} other packets too; ${seen.encrypted} were encrypted`,
    observed: encrypts
      ? { pair: seen.pair, clear: seen.clear, areEncrypted: seen.encrypted >= sent }
      : { pair: seen.pair, clear: seen.clear > 0, areEncrypted: seen.encrypted >= sent },
    expected: encrypts ? { pair: 0, clear: 0, areEncrypted: true } : { pair: sent, clear: true, areEncrypted: false },
  });
}

function difference(after: Seen, before: Seen): Seen {
  return {
    pair: after.pair - before.pair,
    clear: after.clear - before.clear,
    encrypted: after.encrypted - before.encrypted,
  };
}
