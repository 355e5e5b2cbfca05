import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LineProcess } from '../../../lab/line-process.ts';
import { Vpn } from '../../../lab/vpn.ts';
import type { Row } from '../../row.ts';
import { median, medianRatio } from '../../statistics.ts';

const CLIENT = join(import.meta.dirname, '..', 'client.ts');

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
    writeFileSync(file, vpn.config(), { mode: 0o600 });
    using opened = new DisposableStack();
    const start = (...command: string[]): LineProcess =>
      opened.use(new LineProcess(undefined, 'nsenter', client.command(...command)));
    const node = [process.execPath, CLIENT, file, join(client.folder, 'run'), join(client.folder, 'state')];
    const library = start(...node);
    const shell = start('bash', '-c', TIMED);
    const times = { connect: [] as number[], up: [] as number[], disconnect: [] as number[], down: [] as number[] };
    const take = async (of: keyof typeof times, by: LineProcess, line: string): Promise<void> => {
      const answer = await by.ask(line);
      if (Number.isNaN(Number(answer))) throw new Error(`${line}: ${answer}`);
      times[of].push(Number(answer));
    };
    const ours = async (): Promise<void> => {
      await take('connect', library, 'connect');
      await take('disconnect', library, 'disconnect');
    };
    const theirs = async (): Promise<void> => {
      await take('up', shell, `wg-quick up ${file}`);
      await take('down', shell, `wg-quick down ${file}`);
    };
    for (let round = 0; round < scale.shortRounds; round++) {
      // oxlint-disable-next-line no-await-in-loop -- by turns
      for (const one of round % 2 === 0 ? [ours, theirs] : [theirs, ours]) await one();
    }
    return [
      {
        figure: 'connect, with a handshake (wireguard-go)',
        value: median(times.connect),
        unit: 'ms',
        reference: { name: 'wg-quick up', value: median(times.up) },
        // how many times as fast
        ratio: medianRatio(times.up, times.connect),
        target: { of: 'ratio', is: 'at least', bound: 1.5 },
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
