import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatIp } from '../../../addr/ip.ts';
import { formatIpPrefix } from '../../../addr/ip-prefix.ts';
import type { TunnelConfig } from '../config.ts';
import type { Sample } from './corpus.ts';

/** Each program that wg-quick(8) runs: it writes down its parameters, and says what the link of the stage would. */
const PROGRAM = `#!/bin/sh
program=\${0##*/}
{ printf %s "$program"; for word; do printf ' %s' "$word"; done; echo; } >>"$STAGE/log"
case "$program $*" in
  'resolvconf -a'*) sed 's/^/stdin /' >>"$STAGE/log" ;;
  'wg show '*' allowed-ips') printf 'key\\t10.99.0.0/16\\n' ;;
  'wg show interfaces') echo "$LINK" ;;
  'wg showconf '*) cat "$STAGE/showconf" ;;
  'ip -all -brief address show dev '*) echo "$LINK  UNKNOWN  $LINK_ADDRESSES" ;;
  'ip link show dev '*) [ -z "$LINK_MTU" ] || echo "7: $LINK: mtu $LINK_MTU" ;;
  'resolvconf -l '*) for server in $LINK_SERVERS; do echo "nameserver $server"; done ;;
esac
exit 0
`;
const PROGRAMS = ['ip', 'wg', 'resolvconf', 'nft', 'sysctl', 'wireguard-go'];

/** Where wg-quick(8) runs among programs that do nothing, which it looks for beside itself first. */
export class QuickStage implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'culvert-wg-quick-'));
  readonly #script = join(this.#folder, 'wg-quick');

  constructor() {
    copyFileSync(execFileSync('sh', ['-c', 'command -v wg-quick'], { encoding: 'utf8' }).trim(), this.#script);
    for (const program of PROGRAMS) writeFileSync(join(this.#folder, program), PROGRAM, { mode: 0o755 });
    chmodSync(this.#script, 0o755);
  }

  /** What is left for wg(8) of a file. */
  strip({ path }: Sample): string {
    return this.#run('strip', path);
  }

  /** The commands of `wg-quick up`, of a device with one allowed IP, 10.99.0.0/16, and the hooks among them. */
  up({ path, name }: Sample): string[] {
    writeFileSync(join(this.#folder, 'log'), '');
    const said = this.#say(['up', path], { LINK: name });
    const hooks = said.split('\n').filter((line) => line.startsWith('[#] true'));
    return [...readFileSync(join(this.#folder, 'log'), 'utf8').trimEnd().split('\n'), ...hooks];
  }

  /** The file that `wg-quick save` writes over another, of a link that is as a config says. */
  save({ name, text }: Sample, { addresses, dns, mtu }: TunnelConfig, showconf: string): string {
    writeFileSync(join(this.#folder, 'showconf'), showconf);
    const saved = join(this.#folder, 'saved');
    mkdirSync(saved, { recursive: true });
    const path = join(saved, `${name}.conf`);
    writeFileSync(path, text);
    this.#say(['save', path], {
      LINK: name,
      LINK_ADDRESSES: addresses.map(formatIpPrefix).join(' '),
      LINK_SERVERS: dns.servers.map(formatIp).join(' '),
      LINK_MTU: mtu === undefined ? '' : String(mtu),
    });
    return readFileSync(path, 'utf8');
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }

  #run(...args: string[]): string {
    return execFileSync('bash', [this.#script, ...args], { encoding: 'utf8', stdio: 'pipe' });
  }

  /** @returns what it said of its own */
  #say(args: readonly string[], link: Readonly<Record<string, string>>): string {
    const env = { ...process.env, STAGE: this.#folder, ...link };
    const { status, stderr } = spawnSync('bash', [this.#script, ...args], { encoding: 'utf8', env });
    if (status !== 0) throw new Error(`wg-quick ${args.join(' ')} ended with ${status}: ${stderr}`);
    return stderr;
  }
}
