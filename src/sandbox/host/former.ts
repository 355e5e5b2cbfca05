import { rmSync } from 'node:fs';
import { CulvertError } from '../../errors.ts';
import type { NetlinkSocket } from '../../linux/netlink/socket.ts';
import { applyTransaction } from '../../linux/nftables/batch.ts';
import { observeTable } from '../../linux/nftables/observe.ts';
import { deleteTable, newTable, tableText } from '../../linux/nftables/table.ts';
import { readSysctl, writeSysctl } from '../../linux/sysctl.ts';
import { MAX_COMMENT_BYTES, type Table } from '../../plan/ruleset.ts';
import { readFileIfThere, writeWholeFile } from '../../whole-file.ts';

type Values = Readonly<Record<string, string>>;
type Content = { readonly bootId: string; readonly values: Values };

/**
 * Where a daemon that goes leaves what it knows to those that stay: a table of the root namespace, whose comment it is.
 * All of them see it, and it ends with the boot. No daemon's own table has an underscore in its name.
 */
const LEFT: Table = { family: 'inet', name: 'culvert_former' };

/**
 * The settings of the root namespace that Culvert has changed, with the values they had before: in a file, so that
 * whoever removes Culvert, in this run or a later one, can put them back. A new boot has settings of its own, so what
 * an earlier one had is not put back.
 *
 * Of several daemons only the first finds what was before any of them, and only the last may put it back.
 */
export class FormerSettings {
  readonly #path: string;
  readonly #bootId: string;
  readonly #netfilter: NetlinkSocket;

  /** @param netfilter of the root namespace */
  constructor(path: string, bootId: string, netfilter: NetlinkSocket) {
    this.#path = path;
    this.#bootId = bootId;
    this.#netfilter = netfilter;
  }

  /** Writes down, before it is changed, what is to be changed; the first value that was found counts. */
  keep(names: readonly string[]): void {
    const known = this.#read();
    const missing = names.filter((name) => !(name in known));
    if (missing.length === 0) return;
    const found = Object.fromEntries(missing.map((name) => [name, readSysctl(name)]));
    this.#write({ ...known, ...found });
  }

  /**
   * Leaves what was kept to the other daemons of the host. To be called before it can be seen that this one goes: of two
   * that go at once, the last to be seen finds what the other left.
   */
  leave(): void {
    const kept = this.#read();
    const text = JSON.stringify({ ...kept, ...this.#left() });
    // no room, where daemons have more than five uplinks: then the file has it still, for the next run
    if (Object.keys(kept).length === 0 || Buffer.byteLength(text) > MAX_COMMENT_BYTES) return;
    applyTransaction(this.#netfilter, [newTable(LEFT), deleteTable(LEFT), newTable(LEFT, text)]);
    rmSync(this.#path, { force: true });
  }

  /** Puts back what was kept, and what others left, and forgets it. */
  restore(): void {
    const values = { ...this.#read(), ...this.#left() };
    for (const [name, value] of Object.entries(values)) if (readSysctl(name) !== value) writeSysctl(name, value);
    applyTransaction(this.#netfilter, [newTable(LEFT), deleteTable(LEFT)]);
    rmSync(this.#path, { force: true });
  }

  #left(): Values {
    const text = observeTable(this.#netfilter, LEFT)?.digest;
    try {
      return text === undefined ? {} : (JSON.parse(text) as Values);
    } catch (cause) {
      throw unreadable(`the comment of table ${tableText(LEFT)}`, cause);
    }
  }

  #read(): Values {
    try {
      const text = readFileIfThere(this.#path);
      if (text === undefined) return {};
      const { bootId, values } = JSON.parse(text) as Content;
      return bootId === this.#bootId ? values : {};
    } catch (cause) {
      throw unreadable(this.#path, cause);
    }
  }

  #write(values: Values): void {
    const content: Content = { bootId: this.#bootId, values };
    try {
      writeWholeFile(this.#path, `${JSON.stringify(content)}\n`);
    } catch (cause) {
      throw new CulvertError('former_settings', `Cannot write ${this.#path}: ${String(cause)}`, { cause });
    }
  }
}

function unreadable(where: string, cause: unknown): CulvertError {
  const message = `Cannot read ${where}, which says what settings the host had before: ${String(cause)}; mend or remove it`;
  return new CulvertError('former_settings', message, { cause });
}
