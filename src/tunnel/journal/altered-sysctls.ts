import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { CulvertError } from '../../errors.ts';
import { readSysctl, writeSysctl } from '../../linux/sysctl.ts';
import { Journal } from './journal.ts';
import { namespaceIdentity } from './namespace-identity.ts';
import { inTurn } from './turn.ts';

const VALUE = z.strictObject({
  before: z.string(),
  value: z.string(),
  /** the tunnels that want it */
  wants: z.array(z.string()),
});

const CONTENT = z.strictObject({
  version: z.literal(1),
  bootId: z.string(),
  cookie: z.string().optional(),
  values: z.record(z.string(), VALUE),
});

type Content = z.infer<typeof CONTENT>;
type Value = z.infer<typeof VALUE>;

/** A setting that was not put back, since somebody else had changed it. */
export type ForeignSysctl = { readonly name: string; readonly wanted: string; readonly found: string };

/**
 * Settings of the network namespace that the calling thread is in, as tunnels want them, and as they were before the
 * first that wanted each: the last puts it back. What an earlier boot, or a namespace that is gone, had is void.
 *
 * wg-quick(8) never puts back `net/ipv4/conf/all/src_valid_mark`.
 */
export class AlteredSysctls {
  readonly #folder: string;
  readonly #bootId: string;

  /** @param folder of the journals, one for each namespace */
  constructor(folder: string, bootId: string) {
    this.#folder = folder;
    this.#bootId = bootId;
  }

  /**
   * @param name as a path below /proc/sys
   * @throws CulvertError `sysctl_refused`, `sysctl_conflict` where another tunnel wants another value
   */
  want(tunnel: string, name: string, value: string): void {
    inTurn(this.#folder, () => this.#want(tunnel, name, value));
  }

  /**
   * Puts back what no other tunnel wants. To be called as often as one likes, by whoever comes after.
   *
   * @returns what somebody else had changed, which stays as it is
   */
  release(tunnel: string): ForeignSysctl[] {
    return inTurn(this.#folder, () => this.#release(tunnel));
  }

  /** Who wants anything, in this namespace. */
  tunnels(): string[] {
    return inTurn(this.#folder, () => {
      const values = Object.values(this.#look().content.values);
      return [...new Set(values.flatMap(({ wants }) => wants))];
    });
  }

  #want(tunnel: string, name: string, value: string): void {
    this.#forgetBoots();
    const { journal, content } = this.#look();
    const found = read(name);
    const known = content.values[name];
    // somebody put it back, or a kernel that tells no cookie has given the inode to another namespace
    const held = known !== undefined && found === known.value ? known : undefined;
    if (held === undefined && found === value) {
      // nothing to alter, and so nothing to undo
      if (known !== undefined) this.#write(journal, without(content, name));
      return;
    }
    const others = held?.wants.filter((other) => other !== tunnel) ?? [];
    if (held !== undefined && held.value !== value) {
      if (others.length > 0) {
        const message = `Cannot set ${name} to ${value} for tunnel ${tunnel}: tunnel ${others.join(', ')} wants ${held.value}`;
        throw new CulvertError('sysctl_conflict', message);
      }
      // so that it is one of two values at any time
      write(name, held.before);
      this.#write(journal, without(content, name));
      if (held.before === value) return;
    }
    if (held?.value === value && held.wants.includes(tunnel)) return;
    const before = held?.before ?? found;
    const values = { ...content.values, [name]: { before, value, wants: [...others, tunnel] } };
    this.#write(journal, { ...content, values });
    if (found === value) return;
    try {
      write(name, value);
    } catch (error) {
      this.#write(journal, content);
      throw error;
    }
  }

  #release(tunnel: string): ForeignSysctl[] {
    const { journal, content } = this.#look();
    const isKnown = Object.values(content.values).some(({ wants }) => wants.includes(tunnel));
    if (!isKnown && Object.keys(content.values).length > 0) return [];
    const foreign: ForeignSysctl[] = [];
    const values: Record<string, Value> = {};
    for (const [name, known] of Object.entries(content.values)) {
      const wants = known.wants.filter((other) => other !== tunnel);
      if (wants.length > 0) {
        values[name] = { ...known, wants };
        continue;
      }
      const found = read(name);
      if (found === known.value) write(name, known.before);
      else if (found !== known.before) foreign.push({ name, wanted: known.value, found });
    }
    this.#write(journal, { ...content, values });
    return foreign;
  }

  #look(): { readonly journal: Journal<Content>; readonly content: Content } {
    const { inode, cookie } = namespaceIdentity();
    const journal = new Journal(join(this.#folder, `sysctls.${inode}.json`), CONTENT);
    const content = journal.read();
    const isValid = content?.bootId === this.#bootId && content.cookie === cookie;
    const none: Content = { version: 1, bootId: this.#bootId, values: {}, ...(cookie === undefined ? {} : { cookie }) };
    return { journal, content: isValid ? content : none };
  }

  #write(journal: Journal<Content>, content: Content): void {
    if (Object.keys(content.values).length === 0) journal.end();
    else journal.write(content);
  }

  #forgetBoots(): void {
    for (const name of readdirSync(this.#folder)) {
      if (!/^sysctls\.\d+\.json$/.test(name)) continue;
      const journal = new Journal(join(this.#folder, name), CONTENT);
      const content = journal.read();
      if (content !== undefined && content.bootId !== this.#bootId) journal.end();
    }
  }
}

function without(content: Content, name: string): Content {
  return { ...content, values: Object.fromEntries(Object.entries(content.values).filter(([other]) => other !== name)) };
}

function read(name: string): string {
  return tried(`Cannot read ${name}`, () => readSysctl(name));
}

function write(name: string, value: string): void {
  tried(`Cannot set ${name} to ${value}`, () => writeSysctl(name, value));
}

function tried<T>(what: string, body: () => T): T {
  try {
    return body();
  } catch (cause) {
    if (cause instanceof CulvertError) throw cause;
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new CulvertError('sysctl_refused', `${what}: ${reason}; is /proc/sys writable here?`, { cause });
  }
}
