import { CulvertError } from '../../errors.ts';
import type { SeenDevice } from '../../plan/wireguard/device.ts';
import type { Edit } from '../../plan/wireguard/edit.ts';
import type { WireguardBackend } from './backend.ts';
import { GET, setText } from './uapi.ts';
import { DeviceReader } from './uapi-reader.ts';
import { UapiSocket } from './uapi-socket.ts';

/** Of one question: an answer is not waited for as long as a slow machine may take for a thousand peers. */
const EDITS_MAX = 50;
/** Of all its peers together; one that has more is told of by itself. */
const ALLOWED_IPS_MAX = 1000;

/** A device that a program in user space makes, such as wireguard-go. */
export class UserspaceWireguard implements WireguardBackend {
  readonly #folder: string;
  readonly #name: string;
  readonly #reader = new DeviceReader();
  #socket: UapiSocket;

  /**
   * @param folder of the program's socket, `NAME.sock`
   * @throws CulvertError `wireguard_away` where nobody listens
   */
  constructor(folder: string, name: string) {
    this.#folder = folder;
    this.#name = name;
    this.#socket = this.#connect();
  }

  get isAlive(): boolean {
    return this.#socket.isOpen;
  }

  read(): SeenDevice {
    this.#reader.begin();
    return this.#reader.end(this.#ask('read', GET, (soFar) => this.#reader.hear(soFar)));
  }

  edit(edits: readonly Edit[]): void {
    const refusals: unknown[] = [];
    for (const some of questionsOf(edits)) {
      // it stops at the first line that it refuses: one peer must not keep the others from being set
      if (!this.#isDone(some, some.length > 1 ? [] : refusals)) {
        for (const edit of some.length > 1 ? some : []) this.#isDone([edit], refusals);
      }
    }
    if (refusals.length > 0) throw refusals[0];
  }

  #isDone(edits: readonly Edit[], refusals: unknown[]): boolean {
    try {
      this.#ask('set', setText(edits));
      return true;
    } catch (error) {
      if (!(error instanceof CulvertError && error.code === 'wireguard_refused')) throw error;
      refusals.push(error);
      return false;
    }
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }

  #ask(verb: string, text: string, hear?: (soFar: Buffer) => void): Buffer {
    try {
      return this.#socket.ask(`${verb} ${this.#name}`, text, hear);
    } catch (error) {
      // who refuses ends the connection, and what was not heard to its end is not to be heard
      if (!(error instanceof CulvertError && error.code === 'wireguard_away')) this.#reconnect();
      throw error;
    }
  }

  #reconnect(): void {
    // what comes of the former answer is none to the next question, also where there is no other connection
    this.#socket[Symbol.dispose]();
    this.#socket = this.#connect();
  }

  #connect(): UapiSocket {
    return new UapiSocket(this.#folder, `${this.#name}.sock`);
  }
}

function questionsOf(edits: readonly Edit[]): (readonly Edit[])[] {
  const questions: Edit[][] = [];
  let question: Edit[] = [];
  let allowed = 0;
  for (const edit of edits) {
    const more = 'peer' in edit ? (edit.peer.allowedIps?.length ?? 0) : 0;
    if (question.length % EDITS_MAX === 0 || allowed + more > ALLOWED_IPS_MAX) {
      question = [];
      questions.push(question);
      allowed = 0;
    }
    question.push(edit);
    allowed += more;
  }
  return questions;
}
