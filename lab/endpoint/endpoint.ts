import { LineProcess } from '../line-process.ts';
import { type AskResult, type Datagram, ECHO_PORT, type Order, type StreamReport } from './protocol.ts';

const PROGRAM = new URL('program.ts', import.meta.url).pathname;

type Question = {
  readonly to: string;
  /** An address of its own to ask from, should it have several. */
  readonly from?: string;
  /** Tells these datagrams from others where they arrive. */
  readonly text: string;
  readonly count: number;
  readonly waitMs: number;
};

/** Somebody inside a namespace, in a process of their own: asks, answers, and says what reached them. */
export class Endpoint implements Disposable {
  readonly name: string;
  readonly #process: LineProcess;

  private constructor(name: string, process: LineProcess) {
    this.name = name;
    this.#process = process;
  }

  /** @param netns path of the namespace */
  static async start(name: string, netns: string): Promise<Endpoint> {
    const endpoint = new Endpoint(name, new LineProcess(netns, process.execPath, [PROGRAM, name]));
    await endpoint.#process.line();
    return endpoint;
  }

  /** Sends numbered datagrams to an echo port and collects what comes back. */
  ask(question: Question): Promise<AskResult> {
    return this.#order({ do: 'ask', port: ECHO_PORT, ...question });
  }

  /** Answers at another port too; what arrives there is not kept. */
  listen(port: number): Promise<true> {
    return this.#order({ do: 'listen', port });
  }

  /** What arrived at its echo port since it was asked last. */
  received(): Promise<Datagram[]> {
    return this.#order({ do: 'received' });
  }

  /** Starts to send numbered datagrams at a steady pace. */
  stream(to: string, port: number, intervalMs: number): Promise<true> {
    return this.#order({ do: 'stream', to, port, intervalMs });
  }

  /** Ends the stream, waits for what is under way and says what became of it. */
  stopStream(): Promise<StreamReport> {
    return this.#order({ do: 'stop' });
  }

  /** Announces by ARP, unasked, that it has the address. @param link index of the link it says so on */
  claim(address: string, link: number, mac: string): Promise<true> {
    return this.#order({ do: 'claim', address, link, mac });
  }

  [Symbol.dispose](): void {
    this.#process[Symbol.dispose]();
  }

  async #order<Result>(order: Order): Promise<Result> {
    return JSON.parse(await this.#process.ask(JSON.stringify(order))) as Result;
  }
}
