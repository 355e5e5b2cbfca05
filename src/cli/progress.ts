/** ms between two drawings */
const INTERVAL_MS = 100;

/** How far a long piece of work is: one line on stderr that is drawn over, on a terminal only. */
export class Progress implements Disposable {
  readonly #label: string;
  readonly #total: number;
  readonly #isShown: boolean;
  #drawnMs = Number.NEGATIVE_INFINITY;

  /** @param label such as `Creating sandboxes` */
  constructor(label: string, total: number, { json = false }: { readonly json?: boolean } = {}) {
    this.#label = label;
    this.#total = total;
    this.#isShown = process.stderr.isTTY && !json;
    this.update(0);
  }

  update(done: number): void {
    const now = performance.now();
    if (!this.#isShown || now - this.#drawnMs < INTERVAL_MS) return;
    this.#drawnMs = now;
    process.stderr.write(`\r\u001b[K${this.#label} ${done} of ${this.#total}`);
  }

  /** Takes the line away. */
  [Symbol.dispose](): void {
    if (this.#isShown) process.stderr.write('\r\u001b[K');
  }
}
