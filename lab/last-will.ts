import { type ChildProcess, spawn } from 'node:child_process';

/**
 * A shell script that is run once this process has ended, however it did: for programs that outlive whoever starts
 * them. Disposed of it is not run any more.
 */
export class LastWill implements Disposable {
  readonly #child: ChildProcess;

  /** @param parameters `$1` and so on */
  constructor(script: string, ...parameters: string[]) {
    // a session of its own: what ends this process, such as ^C, does not end it
    this.#child = spawn('sh', ['-c', `cat; ${script}`, 'last-will', ...parameters], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    });
    this.#child.unref();
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}
