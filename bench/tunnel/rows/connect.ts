import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LineProcess } from '../../../lab/line-process.ts';
import { Vpn } from '../../../lab/vpn.ts';
import { VpnClient } from '../../../lab/vpn-client.ts';
import { availableWireguard } from '../../../src/linux/wireguard/available.ts';
import type { Row } from '../../row.ts';
import { median, medianRatio } from '../../statistics.ts';

/** How many times as fast as wg-quick it is to be, by who makes the device. */
const FASTER = { kernel: 3, userspace: 1.5 };
const NAMES = { kernel: 'the kernel’s WireGuard', userspace: 'wireguard-go' };

/** In a shell that is there already: answers with how many ms a command took, or with what it said where it failed. */
const TIMED = `while read -r line; do
  begin=\${EPOCHREALTIME/./}
  said=$(bash -c "$line" 2>&1) || { echo "failed: \${said//$'\\n'/ }"; continue; }
  end=\${EPOCHREALTIME/./}
  echo "$(( end - begin ))e-3"
done`;

/**
 * One file, given by turns to a program that connects by the library, which is there when there was a handshake, and to
 * wg-quick(8), which is there when it has said all. Both find a default route in either family, and the same WireGuard.
 */
export const connecting: Row = {
  name: 'connect',
  summary: 'connect and disconnect against wg-quick up and down',
  async run({ scale }) {
    await using vpn = await Vpn.make();
    const { client } = vpn;
    const file = join(client.folder, 'vpn.conf');
    const options = { name: 'vpn', config: vpn.config() };
    writeFileSync(file, options.config, { mode: 0o600 });
    using library = await VpnClient.start(vpn);
    using shell = new LineProcess(undefined, 'nsenter', client.command('bash', '-c', TIMED));
    const times = { connect: [] as number[], up: [] as number[], disconnect: [] as number[], down: [] as number[] };
    const ran = async (line: string): Promise<number> => {
      const answer = await shell.ask(line);
      if (Number.isNaN(Number(answer))) throw new Error(`${line}: ${answer}`);
      return Number(answer);
    };
    const ours = async (): Promise<void> => {
      times.connect.push((await library.connect(options)).took);
      times.disconnect.push(await library.disconnect());
    };
    const theirs = async (): Promise<void> => {
      times.up.push(await ran(`wg-quick up ${file}`));
      times.down.push(await ran(`wg-quick down ${file}`));
    };
    for (let round = 0; round < scale.shortRounds; round++) {
      // oxlint-disable-next-line no-await-in-loop -- by turns
      for (const one of round % 2 === 0 ? [ours, theirs] : [theirs, ours]) await one();
    }
    const backend = availableWireguard();
    return [
      {
        figure: `connect, with a handshake (${NAMES[backend]})`,
        value: median(times.connect),
        unit: 'ms',
        reference: { name: 'wg-quick up', value: median(times.up) },
        // how many times as fast
        ratio: medianRatio(times.up, times.connect),
        target: { of: 'ratio', is: 'at least', bound: FASTER[backend] },
      },
      {
        figure: 'disconnect',
        value: median(times.disconnect),
        unit: 'ms',
        reference: { name: 'wg-quick down', value: median(times.down) },
        ratio: medianRatio(times.down, times.disconnect),
      },
    ];
  },
};
