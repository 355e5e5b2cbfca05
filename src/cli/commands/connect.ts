import { existsSync, readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { InputError } from '../../errors.ts';
import type { SeenPeer } from '../../plan/wireguard/device.ts';
import { formatEndpoint } from '../../plan/wireguard/endpoint.ts';
import { addCommand, type Common, integer } from '../command.ts';
import { print, printJson } from '../output.ts';
import { addFolders, type FolderOptions, foldersGiven } from '../tunnel-folders.ts';

type Options = Common &
  FolderOptions & {
    readonly name?: string;
    readonly split?: string[];
    readonly exclude?: string[];
    readonly killSwitch?: true;
    readonly allow?: string[];
    readonly dns?: string[] | false;
    readonly mtu?: number;
    readonly namespace?: string;
    readonly timeout: number;
    readonly waitForData?: true;
    readonly userspace?: true;
    readonly allowHooks?: true;
  };

const TIMEOUT_S = 15;
/** bytes: a file that is larger is refused where it is read, and not held before */
const FILE_MAX = 16 * 1024 * 1024;

export function addConnect(program: Command): void {
  const command = addCommand(program, {
    usage: 'connect <file>',
    summary: 'Connect through a WireGuard endpoint, by a wg-quick file',
    details:
      'Says when there was a handshake, and keeps the tunnel until it is ended: by a signal, or culvert disconnect. Then all is as it was. What a client that was killed has left of the tunnel is taken over, or taken away. - reads the file from standard input. With SaveConfig = true the file is written anew at the end. Needs root.',
    examples: [
      ['culvert connect /etc/wireguard/wg0.conf', 'as wg-quick up wg0, and back at Ctrl-C'],
      [
        'culvert connect vpn.conf --kill-switch --allow 192.168.1.0/24',
        'nothing leaves past the tunnel but to the LAN',
      ],
      ['culvert connect vpn.conf --split 10.0.0.0/8', 'only these go through it'],
      ['culvert connect - --name vpn <vpn.conf', 'a file that is nowhere'],
      ['culvert connect vpn.conf --namespace /run/netns/agent', 'for what runs in that namespace, and nothing else'],
    ],
  })
    .option('--name <name>', 'of the link; that of the file where absent')
    .option('--split <cidr...>', 'what goes through the tunnel, in place of all that peers may send')
    .option('--exclude <cidr...>', 'what does not go through it')
    .option(
      '--kill-switch',
      'nothing leaves but through the tunnel; where this is killed that holds until culvert disconnect',
    )
    .option('--allow <cidr...>', 'what may be reached past the tunnel, with --kill-switch')
    .option('--dns <server...>', 'name servers and search domains in place of the file’s')
    .option('--no-dns', 'leave name servers as they are')
    .option('--mtu <bytes>', 'of the tunnel', integer('--mtu'))
    .option('--namespace <path>', 'of the network namespace that it is for, which has no other way out then')
    .option('--timeout <seconds>', 'for the first handshake; 0 waits for none', integer('--timeout'), TIMEOUT_S)
    .option('--wait-for-data', 'wait as long again until somebody inside the tunnel answers')
    .option('--allow-hooks', 'run PreUp, PostUp, PreDown and PostDown of the file, by bash')
    .option('--userspace', 'by wireguard-go, though the kernel could');
  addFolders(command).action(connectTo);
}

async function connectTo(file: string, options: Options): Promise<void> {
  const { connect } = await import('../../tunnel/client/tunnel.ts');
  const { json, name, split, exclude, killSwitch, allow, dns, mtu, namespace, timeout, userspace } = options;
  if (allow !== undefined && killSwitch === undefined) {
    throw new InputError('usage', 'Cannot use --allow without --kill-switch: it names what may pass that');
  }
  if (file === '-' && name === undefined) {
    throw new InputError('usage', 'Cannot name a tunnel whose file is standard input: want --name');
  }
  const called = new AbortController();
  const tunnel = await connect(
    {
      config: readConfig(file),
      name: name ?? file,
      ...(split === undefined ? {} : { splitIPs: split }),
      ...(exclude === undefined ? {} : { excludes: exclude }),
      ...(killSwitch === undefined ? {} : { killSwitch: { allow: allow ?? [] } }),
      ...(dns === undefined ? {} : { dns }),
      ...(mtu === undefined ? {} : { mtu }),
      ...(namespace === undefined ? {} : { namespace }),
      ...(userspace === undefined ? {} : { backend: 'userspace' as const }),
      ...(options.waitForData === undefined ? {} : { waitForData: true }),
      ...(options.allowHooks === undefined ? {} : { allowHooks: true }),
      ...(file === '-' ? {} : { saveTo: resolve(file) }),
      timeoutMs: timeout * 1000,
      ...foldersGiven(options),
    },
    called.signal,
  );
  const say = (event: string, text: string, fields: object): void => {
    if (json) printJson({ event, ...fields });
    else print(text);
  };
  const seen = othersMayRead(file);
  if (seen !== undefined) say('notice', seen, { notice: seen });
  for (const notice of tunnel.notices) say('notice', `${tunnel.name}: ${notice}`, { notice });
  const { mtu: size, backend, peers } = await tunnel.status();
  const [peer] = peers;
  const where = peer === undefined ? '' : ` to ${endpointText(peer)}`;
  say('connected', `${tunnel.name} is connected${where} (${backend}, MTU ${size})`, {
    name: tunnel.name,
    backend,
    mtu: size,
    pid: process.pid,
    ...(peer?.endpoint === undefined ? {} : { endpoint: formatEndpoint(peer.endpoint) }),
    wasAdopted: tunnel.wasAdopted,
  });
  tunnel.on('stale', (one) => say('stale', `${tunnel.name} sends to ${endpointText(one)} and hears nothing`, {}));
  tunnel.on('roamed', (one) => say('roamed', `${tunnel.name} hears its peer at ${endpointText(one)} now`, {}));
  tunnel.on('mtu', (now, former) =>
    say('mtu', `${tunnel.name} has MTU ${now} now, which was ${former}`, { mtu: now, former }),
  );
  tunnel.on('underlay', (endpoint, way) =>
    say('underlay', `${tunnel.name} goes to ${endpoint} ${way} now`, { endpoint, way }),
  );
  tunnel.on('resumed', (pauseMs) =>
    say('resumed', `${tunnel.name} is looked after again, after ${Math.round(pauseMs / 1000)} s`, { pauseMs }),
  );
  tunnel.on('heard', (one) => say('heard', `${tunnel.name} hears ${endpointText(one)} again`, {}));
  tunnel.on('down', (reason) => say('down', reason, { reason }));
  tunnel.on('up', (said) => say('up', [`${tunnel.name} is connected again`, ...said].join('; '), { notices: said }));
}

/** It holds a private key. */
function othersMayRead(file: string): string | undefined {
  const mode = file === '-' ? 0 : statSync(file).mode & 0o077;
  return mode === 0 ? undefined : `others may read ${file}, which holds the private key: chmod 600 ${file}`;
}

function endpointText({ endpoint }: Pick<SeenPeer, 'endpoint'>): string {
  return endpoint === undefined ? 'a peer without an endpoint' : formatEndpoint(endpoint);
}

function readConfig(file: string): string {
  try {
    const at = file === '-' ? 0 : file;
    if (file !== '-' && statSync(file).size > FILE_MAX) throw new Error(`it has more than ${FILE_MAX} bytes`);
    return readFileSync(at, 'utf8');
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? (cause instanceof Error ? cause.message : String(cause));
    const quick = `/etc/wireguard/${file}.conf`;
    const hint = why === 'ENOENT' && !file.includes('/') && existsSync(quick) ? `; is it ${quick}?` : '';
    throw new InputError('tunnel_config', `Cannot read ${file}: ${why}${hint}`, { cause });
  }
}
