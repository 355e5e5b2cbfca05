import { Load } from '../../lab/load/load.ts';
import type { Kind, Reports } from '../../lab/load/protocol.ts';
import { Queues } from '../../lab/load/queues.ts';
import { pause } from '../until.ts';
import type { Placed } from './mesh-cluster.ts';

const DATAGRAM_PORT = 9001;
const CONVERSATION_PORT = 9002;
/**
 * Datagrams a second, each way. wireguard-go's socket holds some ninety packets of full size (`net.core.rmem_default`): at
 * this rate it has a second and a half until one is lost since it had no processor.
 */
const PER_SECOND = 60;
/** bytes of the IP and UDP headers */
const HEADERS = 28;
/** For what is under way at the end. */
const DRAIN_MS = 10_000;
const POLL_MS = 50;

type Both<Of extends Kind> = readonly [Reports[Of], Reports[Of]];

/** What became of it, of both directions together. */
export type Carried = {
  readonly sent: number;
  /** datagrams that did not arrive */
  readonly lost: number;
  /** packets that found a queue full on their way, by the queue: the kernel counts them apart */
  readonly dropped: ReadonlyMap<string, number>;
  /** datagrams that the kernel did not send, by the name of its errno */
  readonly refused: readonly string[];
  /** over the connection */
  readonly bytes: number;
  /** of those, what has not arrived */
  readonly missing: number;
  /** that it ended, or that something else arrived than was sent */
  readonly errors: readonly string[];
};

/** IP packets of the full size between two sandboxes, and one TCP connection between two; both ways at a time each. */
export class LastingTraffic implements Disposable {
  readonly #datagrams: readonly [Load<'datagrams'>, Load<'datagrams'>];
  readonly #conversation: readonly [Load<'conversation'>, Load<'conversation'>];
  readonly #queues: Queues;

  private constructor(
    datagrams: readonly [Load<'datagrams'>, Load<'datagrams'>],
    conversation: readonly [Load<'conversation'>, Load<'conversation'>],
    queues: Queues,
  ) {
    this.#datagrams = datagrams;
    this.#conversation = conversation;
    this.#queues = queues;
  }

  static async start(
    [one, other]: readonly [Placed, Placed],
    [caller, called]: readonly [Placed, Placed],
  ): Promise<LastingTraffic> {
    using opened = new DisposableStack();
    const datagramsOf = async (from: Placed, to: Placed): Promise<Load<'datagrams'>> => {
      const task = { port: DATAGRAM_PORT, size: from.sandbox.mtu - HEADERS, perSecond: PER_SECOND };
      return opened.use(await Load.start(from.sandbox.netns, 'datagrams', { ...task, to: to.sandbox.hostAddress }));
    };
    const datagrams = [await datagramsOf(one, other), await datagramsOf(other, one)] as const;
    const port = CONVERSATION_PORT;
    const listener = opened.use(await Load.start(called.sandbox.netns, 'conversation', { port }));
    const to = called.sandbox.hostAddress;
    const talker = opened.use(await Load.start(caller.sandbox.netns, 'conversation', { port, to }));
    const ends = [one, other].map(({ sandbox, daemon: { place, router } }) => {
      return { sandbox, host: place.name, root: place.pin, router };
    });
    const queues = opened.use(new Queues(ends));
    opened.move();
    return new LastingTraffic(datagrams, [talker, listener], queues);
  }

  async go(): Promise<void> {
    await Promise.all([...this.#datagrams, ...this.#conversation].map((load) => load.go()));
  }

  /** Has it rest, waits for what is under way, and says what became of it since the start. */
  async rest(): Promise<Carried> {
    await Promise.all([...this.#datagrams, ...this.#conversation].map((load) => load.rest()));
    const deadline = performance.now() + DRAIN_MS;
    for (;;) {
      const carried = await this.#look();
      if ((carried.lost === 0 && carried.missing === 0) || performance.now() >= deadline) return carried;
      await pause(POLL_MS);
    }
  }

  [Symbol.dispose](): void {
    this.#queues[Symbol.dispose]();
    for (const load of [...this.#datagrams, ...this.#conversation]) load[Symbol.dispose]();
  }

  async #look(): Promise<Carried> {
    const [one, other] = await both(this.#datagrams);
    const [talker, listener] = await both(this.#conversation);
    const wrong = talker.wrong + listener.wrong;
    return {
      sent: one.sent + other.sent,
      lost: one.sent - other.heard + (other.sent - one.heard),
      dropped: this.#queues.dropped,
      refused: [...one.refused, ...other.refused],
      bytes: talker.sentBytes + listener.sentBytes,
      missing: talker.sentBytes - listener.heardBytes + (listener.sentBytes - talker.heardBytes),
      errors: [...talker.errors, ...listener.errors, ...(wrong === 0 ? [] : [`${wrong} pieces are wrong`])],
    };
  }
}

async function both<Of extends Kind>([one, other]: readonly [Load<Of>, Load<Of>]): Promise<Both<Of>> {
  return [await one.report(), await other.report()];
}
