import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kernel } from '../src/linux/apply.ts';
import { removeNamespace } from '../src/linux/namespace.ts';
import { joinVeths } from '../src/linux/observe/links.ts';
import { diff } from '../src/plan/diff.ts';
import { type KernelObject, type NamespaceName, ROUTER } from '../src/plan/state.ts';
import { bridgeItself } from '../src/sandbox/topology/bridge.ts';
import { DEFAULT_LAYOUT, type Layout } from '../src/sandbox/topology/layout.ts';

/** A router of its own with a bridge, in a folder of its own: two of them never meet. */
export class World implements Disposable {
  readonly layout: Layout = { ...DEFAULT_LAYOUT, mtu: 1420 };
  readonly kernel: Kernel;
  readonly #folder = mkdtempSync(join(tmpdir(), 'culvert-world-'));

  constructor() {
    const pins = join(this.#folder, 'netns');
    mkdirSync(pins);
    this.kernel = new Kernel(pins, [ROUTER]);
    this.kernel.apply(diff([], [{ kind: 'namespace', namespace: ROUTER }, ...bridgeItself(this.layout)]));
  }

  /** What these namespaces hold, pairs between them and the router put together. */
  observe(wanted: readonly KernelObject[], ...namespaces: NamespaceName[]): KernelObject[] {
    const states = namespaces.map((namespace) =>
      this.kernel.look(namespace, namespace === ROUTER ? undefined : wanted),
    );
    const pairs = joinVeths(
      states.flatMap(({ halves }) => halves),
      ROUTER,
    );
    return [...states.flatMap(({ objects }) => objects), ...pairs];
  }

  /** The namespaces that are pinned now. */
  namespaces(): NamespaceName[] {
    return readdirSync(join(this.#folder, 'netns'));
  }

  /** Runs a command inside and returns what it prints. */
  run(namespace: NamespaceName, ...command: string[]): string {
    return execFileSync('nsenter', [`--net=${this.kernel.pin(namespace)}`, ...command], { encoding: 'utf8' });
  }

  /** The same for a command that prints JSON, or nothing. */
  ask(namespace: NamespaceName, ...command: string[]): unknown {
    const text = this.run(namespace, ...command);
    return JSON.parse(text === '' ? '[]' : text);
  }

  [Symbol.dispose](): void {
    this.kernel[Symbol.dispose]();
    for (const name of this.namespaces()) removeNamespace(this.kernel.pin(name));
    rmSync(this.#folder, { recursive: true });
  }
}
