import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { CulvertError, InputError } from '../../errors.ts';
import { readFileIfThere } from '../../whole-file.ts';
import { AlteredFile } from '../journal/altered-file.ts';
import { placeOf } from '../journal/file-place.ts';
import { contentOf, FILE_STATE, type FileState, readFileState } from '../journal/file-state.ts';
import { mendEnd } from '../journal/file-write.ts';
import { Journal } from '../journal/journal.ts';
import { inTurn } from '../journal/turn.ts';
import { Programs } from './program.ts';
import { recordName, setBy, unsetBy } from './program-ways.ts';
import { isOfTunnel, isResolvedStub, parseResolvConf, renderResolvConf } from './resolv-conf.ts';
import { DNS_TEXT, type DnsText, dnsText, type WantedDns } from './wanted.ts';
import { chooseWay, type DnsChoice, type DnsWay, isOfOthers } from './way.ts';

export type MachineDnsOptions = {
  /** of the journals; on a disk, since resolv.conf is on one */
  readonly folder: string;
  readonly bootId: string;
  readonly resolvConf?: string;
  /** of Debian's resolvconf */
  readonly interfaceOrder?: string;
  /** whom systemd-resolved asks, while resolv.conf says that it is to be asked */
  readonly behindStub?: string;
  /** folders of programs, as PATH has them */
  readonly path?: string;
  /** for a program to end */
  readonly programLimit_ms?: number;
};

/** What was done, and what a person is to know about it. */
export type DnsSet = { readonly way: DnsWay | 'off'; readonly notices: readonly string[] };
export type DnsUnset = {
  /** `foreign`: somebody else had changed the file, which stays as it is */
  readonly outcome: 'nothing' | 'restored' | 'rewritten' | 'foreign';
  readonly notices: readonly string[];
};

const RECORD = z.strictObject({
  version: z.literal(1),
  way: z.enum(['resolvconf', 'resolved']),
  /** as the program knows the tunnel */
  record: z.string(),
  want: DNS_TEXT,
  /** whether the program has ended */
  isSettled: z.boolean(),
  /** who was asked before the first tunnel */
  before: DNS_TEXT,
  /** resolv.conf before the first tunnel */
  file: FILE_STATE,
});

type Asked = {
  readonly tunnel: string;
  readonly link: string;
  readonly want: DnsText;
  readonly choice: DnsChoice;
};

type Record = z.infer<typeof RECORD>;

const TUNNEL = /^[A-Za-z0-9_=+.-]{1,64}$/;
const LINK = /^[A-Za-z0-9_=+.-]{1,15}$/;

/**
 * The name servers of the machine, as the calling thread's mount namespace has them, and as tunnels want them. All of it
 * waits: for its turn, and for the programs that it runs.
 */
export class MachineDns {
  readonly #options: Required<Pick<MachineDnsOptions, 'folder' | 'resolvConf' | 'interfaceOrder' | 'behindStub'>>;
  readonly #file: AlteredFile<DnsText>;
  readonly #programs: Programs;

  constructor(options: MachineDnsOptions) {
    const {
      folder,
      bootId,
      resolvConf = '/etc/resolv.conf',
      interfaceOrder = '/etc/resolvconf/interface-order',
      behindStub = '/run/systemd/resolve/resolv.conf',
    } = options;
    this.#options = { folder, resolvConf, interfaceOrder, behindStub };
    this.#programs = new Programs(folder, { path: options.path, limit_ms: options.programLimit_ms });
    this.#file = new AlteredFile({
      path: resolvConf,
      folder,
      bootId,
      want: DNS_TEXT,
      render: (wants, before) => renderResolvConf(wants, textOf(before)),
    });
  }

  /**
   * Has the machine ask a tunnel's name servers, on top of all other tunnels; what it asked for before is replaced.
   * A tunnel that wants nothing gets nothing.
   *
   * @param tunnel its name, of which there is one in the folder
   * @throws InputError; CulvertError `dns_of_others`, `program_failed`, `file_unwritable`, `journal_unwritable`,
   *   `tunnels_busy`, with all as it was
   */
  set(tunnel: string, link: string, wanted: WantedDns, choice: DnsChoice = 'auto'): DnsSet {
    const want = dnsText(wanted);
    if (!TUNNEL.test(tunnel))
      throw new InputError('invalid_tunnel_name', `Cannot name a tunnel ${JSON.stringify(tunnel)}`);
    if (!LINK.test(link)) throw new InputError('invalid_link_name', `Cannot name a link ${JSON.stringify(link)}`);
    return inTurn(this.#options.folder, () => this.#set({ tunnel, link, want, choice }));
  }

  /**
   * Has the machine ask whom it asked before, or whom the other tunnels want. To be called as often as one likes, by
   * whoever comes after a client that was killed.
   *
   * @throws CulvertError as {@link set}; what is left to undo stays in the journal
   */
  unset(tunnel: string): DnsUnset {
    return inTurn(this.#options.folder, () => this.#unset(tunnel));
  }

  /** Those that have anything to undo. */
  tunnels(): string[] {
    return inTurn(this.#options.folder, () => [
      ...new Set([...this.#records().map(({ tunnel }) => tunnel), ...this.#file.tunnels()]),
    ]);
  }

  /** Whom the machine asked before any tunnel; servers may have a zone, as in `fe80::1%eth0`. */
  nameserversBefore(): DnsText {
    return inTurn(this.#options.folder, () => this.#before());
  }

  #set({ tunnel, link, want, choice }: Asked): DnsSet {
    const isNothing = want.servers.length === 0 && want.search.length === 0;
    const way = choice === 'off' || isNothing ? 'off' : this.#choose(choice);
    const notices: string[] = [];
    const known = this.#record(tunnel).read();
    const record = way === 'off' || way === 'file' ? undefined : recordName(way, link, this.#options.interfaceOrder);
    if (known !== undefined && (known.way !== way || known.record !== record)) this.#unsetRecord(tunnel, known);
    if (way !== 'file') notices.push(...this.#unsetFile(tunnel).notices);
    if (way === 'file') notices.push(...this.#setFile(tunnel, want));
    else if (way !== 'off' && record !== undefined) notices.push(...this.#setRecord(tunnel, { way, record, want }));
    return { way, notices };
  }

  #unset(tunnel: string): DnsUnset {
    const known = this.#record(tunnel).read();
    if (known !== undefined) this.#unsetRecord(tunnel, known);
    else this.#record(tunnel).end();
    const { outcome, notices } = this.#unsetFile(tunnel);
    return { outcome: outcome === 'nothing' && known !== undefined ? 'restored' : outcome, notices };
  }

  #before(): DnsText {
    const [recorded] = this.#records();
    if (recorded !== undefined) return recorded.content.before;
    const before = this.#file.before() ?? readFileState(this.#options.resolvConf);
    const text = parseResolvConf(textOf(before));
    if (!isResolvedStub(text)) return text;
    const behind = readFileIfThere(this.#options.behindStub);
    return behind === undefined ? text : parseResolvConf(behind);
  }

  #choose(choice: DnsWay | 'auto'): DnsWay {
    if (choice !== 'auto') return choice;
    const { resolvConf } = this.#options;
    const before = this.#file.before() ?? readFileState(resolvConf);
    return chooseWay({
      isMount: placeOf(resolvConf).isMount,
      hasResolvconf: this.#programs.find('resolvconf') !== undefined,
      hasResolvectl: this.#programs.find('resolvectl') !== undefined,
      isStub: isResolvedStub(parseResolvConf(textOf(before))),
      isOfOthers: isOfOthers(resolvConf),
    });
  }

  #setFile(tunnel: string, want: DnsText): string[] {
    const { resolvConf } = this.#options;
    const found = readFileState(resolvConf);
    const isLost = this.#file.before() === undefined && isOfTunnel(textOf(found));
    const { wasForeign } = this.#file.set(tunnel, want);
    if (wasForeign) return [`${resolvConf} had been changed by somebody else: that is what comes back in the end`];
    if (isLost)
      return [
        `${resolvConf} has the name servers of a tunnel of which nothing is known: what was there before is lost`,
      ];
    return [];
  }

  #unsetFile(tunnel: string): DnsUnset {
    const outcome = this.#file.release(tunnel);
    const notice = `${this.#options.resolvConf} had been changed by somebody else, and stays as it is`;
    return { outcome, notices: outcome === 'foreign' ? [notice] : [] };
  }

  #setRecord(tunnel: string, parts: Pick<Record, 'way' | 'record' | 'want'>): string[] {
    const { resolvConf } = this.#options;
    const journal = this.#record(tunnel);
    const former = journal.read();
    const file = this.#records()[0]?.content.file ?? readFileState(resolvConf);
    const content: Record = { version: 1, ...parts, isSettled: false, before: this.#before(), file };
    journal.write(content);
    try {
      if (former?.isSettled === false) this.#programs.waitForOrphan();
      setBy(this.#programs, parts.way, parts.record, parts.want);
    } catch (error) {
      this.#takeBack(tunnel, content, error);
      throw error;
    }
    journal.write({ ...content, isSettled: true });
    return this.#doubt(parts.want);
  }

  #takeBack(tunnel: string, content: Record, failure: unknown): void {
    try {
      this.#unsetRecord(tunnel, content);
    } catch (error) {
      const [first, second] = [failure, error].map((one) => (one instanceof Error ? one.message : String(one)));
      const message = `${first}; nor can it be taken back: ${second}`;
      throw new CulvertError('program_failed', message, { cause: new AggregateError([failure, error]) });
    }
  }

  #unsetRecord(tunnel: string, content: Record): void {
    const { resolvConf } = this.#options;
    const { way, record, isSettled, file } = content;
    if (!isSettled) this.#programs.waitForOrphan();
    // whoever comes after a client that was killed here is to wait too
    else this.#record(tunnel).write({ ...content, isSettled: false });
    unsetBy(this.#programs, way, record);
    if (way === 'resolvconf') mendLineEnd(resolvConf, file);
    this.#record(tunnel).end();
  }

  /** A program that is there need not be in charge of what is asked. */
  #doubt({ servers }: DnsText): string[] {
    const { resolvConf } = this.#options;
    const asked = parseResolvConf(textOf(readFileState(resolvConf))).servers;
    const isAsked = asked.every((server) => servers.includes(server) || server.startsWith('127.') || server === '::1');
    if (servers.length === 0 || (isAsked && asked.length > 0)) return [];
    return [`${resolvConf} has other name servers than the tunnel’s (${asked.join(', ') || 'none'}): choose dns file`];
  }

  #record(tunnel: string): Journal<Record> {
    return new Journal(join(this.#options.folder, `dns.${tunnel}.json`), RECORD);
  }

  #records(): { readonly tunnel: string; readonly content: Record }[] {
    return readdirSync(this.#options.folder).flatMap((name) => {
      const [, tunnel] = /^dns\.(.+)\.json$/.exec(name) ?? [];
      const content = tunnel === undefined ? undefined : this.#record(tunnel).read();
      return tunnel === undefined || content === undefined ? [] : [{ tunnel, content }];
    });
  }
}

function textOf(state: FileState): string {
  return contentOf(state)?.toString('utf8') ?? '';
}

/** What openresolv brings back has one newline at its end, whatever there was. */
function mendLineEnd(path: string, before: FileState): void {
  const [found, wanted] = [contentOf(readFileState(path)), contentOf(before)];
  if (found === undefined || wanted === undefined || found.equals(wanted)) return;
  if (found.toString('latin1').trimEnd() === wanted.toString('latin1').trimEnd()) mendEnd(path, wanted);
}
