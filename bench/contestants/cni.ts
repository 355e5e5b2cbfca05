import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LabHost } from '../../lab/host.ts';
import { LineProcess } from '../../lab/line-process.ts';
import { createNamespace } from '../../src/linux/namespace.ts';
import { PinFolder, type Stage } from '../stage.ts';
import type { Creator } from './creator.ts';

const SCRIPT = new URL('cni.sh', import.meta.url).pathname;
/** Where Debian's and Ubuntu's package puts it. */
const PLUGIN = '/usr/lib/cni/ptp';

/** CNI's ptp with host-local, as Debian builds them, on a host of its own. It makes no TAP. */
export class Cni implements Creator, Disposable {
  readonly name = 'CNI ptp';
  readonly share = 0.25;
  readonly #host = new LabHost();
  readonly #pins: PinFolder;
  readonly #process: LineProcess;
  #prepared = 0;
  #live = 0;

  constructor(stage: Stage) {
    this.#pins = new PinFolder(stage.folder, 'cni-pins');
    const config = join(stage.folder, 'cni.json');
    const ipam = { type: 'host-local', subnet: '10.13.0.0/16', dataDir: join(stage.folder, 'cni') };
    writeFileSync(config, JSON.stringify({ cniVersion: '0.4.0', name: 'bench', type: 'ptp', ipMasq: true, ipam }));
    this.#process = new LineProcess(this.#host.pin('host'), 'sh', [SCRIPT, PLUGIN, config, this.#pins.path]);
  }

  get live(): number {
    return this.#live;
  }

  /** The namespaces, which a container runtime makes before it calls. */
  async prepare(count: number): Promise<void> {
    for (let made = 0; made < count; made++) {
      createNamespace(join(this.#pins.path, `c${++this.#prepared}`), () => undefined);
    }
  }

  async create(count: number): Promise<void> {
    await this.#process.ask(`create ${count}`);
    this.#live += count;
  }

  [Symbol.dispose](): void {
    this.#process[Symbol.dispose]();
    this.#pins[Symbol.dispose]();
    this.#host[Symbol.dispose]();
  }
}
