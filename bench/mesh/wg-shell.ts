import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LineProcess } from '../../lab/line-process.ts';

/**
 * wg(8) looks for sockets where wireguard-go makes them, so it is shown a folder there. A line is the words of one
 * command; what it prints goes to a file, and the answer is its exit code and the µs that it took.
 */
const SCRIPT = `
  set -eu
  mount -t tmpfs culvert /run
  mkdir /run/wireguard
  mount --bind "$1" /run/wireguard
  while read -ra words; do
    begin=$EPOCHREALTIME
    code=0
    wg "\${words[@]}" >"$2" || code=$?
    end=$EPOCHREALTIME
    echo "$code $(( \${end/./} - \${begin/./} ))"
  done`;

/** A shell that runs wg(8) on the devices in user space of one folder, and says how long each took. */
export class WgShell implements Disposable {
  readonly #process: LineProcess;
  readonly #output: string;

  /** @param folder of the devices' sockets @param scratch for a file that is its own */
  constructor(folder: string, scratch: string) {
    this.#output = join(scratch, 'wg-output');
    const command = ['--mount', '--propagation', 'private', 'bash', '-c', SCRIPT, 'bash', folder, this.#output];
    this.#process = new LineProcess(undefined, 'unshare', command);
  }

  /** ms that it took, the start of its process too, as a person waits for it. @throws Error where it fails */
  async run(...words: readonly string[]): Promise<number> {
    const answer = await this.#process.ask(words.join(' '));
    const [code, took_us] = answer.split(' ').map(Number);
    if (code !== 0 || took_us === undefined) throw new Error(`wg ${words.join(' ')} ended with ${code}`);
    return took_us / 1000;
  }

  /** What it printed. */
  async read(...words: readonly string[]): Promise<string> {
    await this.run(...words);
    return readFileSync(this.#output, 'utf8');
  }

  [Symbol.dispose](): void {
    this.#process[Symbol.dispose]();
  }
}
