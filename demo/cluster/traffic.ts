import { Load } from '../../lab/load/load.ts';
import type { Kind, Reports } from '../../lab/load/protocol.ts';
import { Queues, readIn } from '../../lab/load/queues.ts';
import { LabValkey, VALKEY_PORT } from '../../lab/valkey/server.ts';
import { isSoWithin } from '../pace.ts';
import type { ClusterStage, Placed } from './stage.ts';

const DATAGRAM_PORT = 9001;
const CONVERSATION_PORT = 9002;
/** datagrams a second, each way */
const PER_SECOND = 1000;
/** bytes of the IP and UDP headers */
const HEADERS = 28;
/** bytes of a value */
const VALUE = 64 * 1024;

/** How long it is waited for what is under way: nothing is proven by it. */
const PATIENCE_MS = 10_000;
/** Connections that went without answer for long try again after up to that and more. */
const RECOVERY_MS = 60_000;

type Stopped = {
  readonly datagrams: readonly [Reports['datagrams'], Reports['datagrams']];
  readonly conversation: readonly [Reports['conversation'], Reports['conversation']];
  readonly values: readonly Reports['values'][];
};

/**
 * What is to go on whatever is done to the hosts:
 *
 *     h1 ══ datagrams of full size ══ h2 ══ one TCP connection ══ h3
 *     h3, a Valkey ◄── its clients ── h1, by its name, and h2, by its address
 *
 * The program that encrypts has a queue that a burst of values of two clients can fill: who sends datagrams is not where
 * the Valkey is.
 */
export class Traffic {
  readonly datagrams: readonly [Load<'datagrams'>, Load<'datagrams'>];
  readonly pair: readonly [Placed, Placed];
  readonly port = DATAGRAM_PORT;
  readonly #conversation: readonly [Load<'conversation'>, Load<'conversation'>];
  readonly #values: readonly Load<'values'>[];
  readonly #stage: ClusterStage;
  readonly #queues: Queues;
  readonly #fragmentsBefore: number;
  #before: Stopped | undefined;
  /** datagrams that had not arrived when it was proven last */
  #missingBefore = 0;

  private constructor(
    stage: ClusterStage,
    pair: readonly [Placed, Placed],
    datagrams: readonly [Load<'datagrams'>, Load<'datagrams'>],
    conversation: readonly [Load<'conversation'>, Load<'conversation'>],
    values: readonly Load<'values'>[],
  ) {
    this.#stage = stage;
    this.pair = pair;
    this.datagrams = datagrams;
    this.#conversation = conversation;
    this.#values = values;
    const ends = pair.map(({ sandbox, host }) => {
      return { sandbox, host: host.name, root: host.place.pin, router: host.daemon.pin('router') };
    });
    this.#queues = stage.use(new Queues(ends));
    this.#fragmentsBefore = this.#fragments();
  }

  static async start(stage: ClusterStage): Promise<Traffic> {
    const load = async <Of extends Kind>(
      ...[{ sandbox }, kind, task]: [Placed, Of, Parameters<typeof Load.start<Of>>[2]]
    ) => stage.use(await Load.start(sandbox.netns, kind, task));
    const [one, two, three] = ['h1', 'h2', 'h3'].map((host) => stage.one('web', host)) as [Placed, Placed, Placed];
    const common = { port: DATAGRAM_PORT, size: one.sandbox.mtu - HEADERS, perSecond: PER_SECOND };
    const datagrams = await Promise.all([
      load(one, 'datagrams', { ...common, to: two.sandbox.hostAddress }),
      load(two, 'datagrams', { ...common, to: one.sandbox.hostAddress }),
    ]);
    const listener = await load(three, 'conversation', { port: CONVERSATION_PORT });
    const caller = await load(two, 'conversation', { port: CONVERSATION_PORT, to: three.sandbox.hostAddress });
    const store = stage.one('data', 'h3');
    const { program } = stage.use(await LabValkey.start(store.sandbox.netns));
    const name = `${store.sandbox.id}.data.culvert`;
    const values = await Promise.all(
      (
        [
          ['h1', name],
          ['h2', store.sandbox.hostAddress],
        ] as const
      ).map(([host, where]) => {
        const client = stage.one('data', host);
        const { dns: resolver, id: prefix } = client.sandbox;
        return load(client, 'values', { store: where, resolver, port: VALKEY_PORT, prefix, size: VALUE });
      }),
    );
    stage.narrator.say(
      `${PER_SECOND} datagrams a second each way, in IP packets of ${one.sandbox.mtu} bytes, h1 and h2`,
    );
    stage.narrator.say('one TCP connection, both ways at a time, between h2 and h3');
    stage.narrator.say(
      `a ${program} on h3; clients write and read ${VALUE / 1024} KB, on h1 as ${name}, on h2 by address`,
    );
    return new Traffic(stage, [one, two], datagrams, [caller, listener], values);
  }

  /** Ends it all, before the sandboxes go. */
  end(): void {
    this.#queues[Symbol.dispose]();
    for (const load of this.#all()) load[Symbol.dispose]();
  }

  async go(): Promise<void> {
    await Promise.all(this.#all().map((load) => load.go()));
  }

  /** Ends the sending of datagrams only. @returns how many both have sent so far */
  async restDatagrams(): Promise<number> {
    const reports = await Promise.all(this.datagrams.map((load) => load.rest()));
    return reports.reduce((total, { sent }) => total + sent, 0);
  }

  /** Has everything rest, and proves that since it did so last nothing of it was lost. */
  async proveWhole(what: string): Promise<void> {
    await Promise.all(this.#all().map((load) => load.rest()));
    await isSoWithin(PATIENCE_MS, async () => this.#isWhole(await this.#look()));
    await isSoWithin(RECOVERY_MS, async () => isSaid(await this.#look()));
    const now = await this.#look();
    this.#proveDatagrams(what, now);
    this.#proveConnections(what, now);
    this.#before = now;
  }

  /** Proves, of what goes on, that nothing is lost of datagrams meanwhile. */
  async proveDatagramsWhole(what: string): Promise<void> {
    await this.restDatagrams();
    await isSoWithin(PATIENCE_MS, async () => this.#isWhole(await this.#look()));
    const now = await this.#look();
    this.#proveDatagrams(what, now);
    this.#before = {
      ...now,
      ...(this.#before && { conversation: this.#before.conversation, values: this.#before.values }),
    };
  }

  #all(): readonly Load<Kind>[] {
    return [...this.datagrams, ...this.#conversation, ...this.#values];
  }

  async #look(): Promise<Stopped> {
    const [datagrams, conversation, values] = await Promise.all([
      Promise.all([this.datagrams[0].report(), this.datagrams[1].report()]),
      Promise.all([this.#conversation[0].report(), this.#conversation[1].report()]),
      Promise.all(this.#values.map((load) => load.report())),
    ]);
    return { datagrams, conversation, values };
  }

  #isWhole({ datagrams }: Stopped): boolean {
    return missing(datagrams) - this.#missingBefore <= sumOf(this.#queues.dropped);
  }

  #proveDatagrams(what: string, { datagrams }: Stopped): void {
    const { narrator } = this.#stage;
    const sent = datagrams.map((one, index) => one.sent - (this.#before?.datagrams[index]?.sent ?? 0));
    const { dropped } = this.#queues;
    const lost = missing(datagrams) - this.#missingBefore;
    const overflows = Math.min(lost, sumOf(dropped));
    const queues = [...dropped].map(([queue, count]) => `${count} in ${queue}`).join(', ');
    const excuse =
      lost === 0
        ? 'all arrived'
        : `${overflows} found a queue full (dropped there, of all traffic: ${queues}), all others arrived`;
    narrator.prove({
      claim: `no datagram was lost ${what}`,
      done: `sent ${sent[0]} from h1 to h2 and ${sent[1]} back`,
      seen: `${excuse}, none in fragments`,
      observed: {
        areSent: sent.every((count) => count > 0),
        lost: lost - overflows,
        refused: datagrams.flatMap(({ refused }) => refused),
        fragments: this.#fragments() - this.#fragmentsBefore,
      },
      expected: { areSent: true, lost: 0, refused: [], fragments: 0 },
    });
    this.#missingBefore += lost;
    this.#queues.forget();
  }

  #proveConnections(what: string, { conversation, values }: Stopped): void {
    const [one, other] = conversation;
    const moved = one.sentBytes + other.sentBytes - sum(this.#before?.conversation ?? [], 'sentBytes');
    this.#stage.narrator.prove({
      claim: `no TCP connection was cut ${what}`,
      done: `sent ${Math.round(moved / 1024)} KB over one, both ways at a time`,
      seen: 'every byte arrived, in order',
      observed: {
        isMoved: moved > 0,
        underWay: [one.sentBytes - other.heardBytes, other.sentBytes - one.heardBytes],
        wrong: one.wrong + other.wrong,
        errors: [...one.errors, ...other.errors],
      },
      expected: { isMoved: true, underWay: [0, 0], wrong: 0, errors: [] },
    });
    const rounds = values.map((client, index) => client.rounds - (this.#before?.values[index]?.rounds ?? 0));
    this.#stage.narrator.prove({
      claim: `and every value was read as it was written ${what}`,
      done: `${rounds.join(' and ')} values of ${VALUE / 1024} KB, each client over the connection that it has had from the start`,
      seen: 'no error',
      observed: {
        areWritten: rounds.every((count) => count > 0),
        wrong: sum(values, 'wrong'),
        errors: values.flatMap(({ errors }) => errors),
      },
      expected: { areWritten: true, wrong: 0, errors: [] },
    });
  }

  /** Packets that the two who send datagrams have cut in pieces. */
  #fragments(): number {
    return this.pair.reduce((count, { sandbox }) => count + fragmentsIn(readIn(sandbox.netns, 'snmp')), 0);
  }
}

function sumOf(drops: ReadonlyMap<string, number>): number {
  return [...drops.values()].reduce((total, count) => total + count, 0);
}

function missing([one, other]: Stopped['datagrams']): number {
  return one.sent - other.heard + (other.sent - one.heard);
}

function isSaid({ conversation: [one, other] }: Stopped): boolean {
  const hasFailed = one.errors.length + other.errors.length > 0;
  return hasFailed || (one.sentBytes === other.heardBytes && other.sentBytes === one.heardBytes);
}

function sum<Name extends string>(ones: readonly { readonly [name in Name]: number }[], name: Name): number {
  return ones.reduce((total, one) => total + one[name], 0);
}

/** proc(5) on /proc/net/snmp */
function fragmentsIn(snmp: string): number {
  const [names = [], values = []] = snmp
    .split('\n')
    .filter((line) => line.startsWith('Ip: '))
    .map((line) => line.split(' '));
  return Number(values[names.indexOf('FragCreates')]);
}
