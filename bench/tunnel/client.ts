import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { connect, type Tunnel } from '../../src/tunnel/client/tunnel.ts';

/*
 * A program that has a tunnel by the library: `client.ts FILE RUN STATE`. To each line `connect` or `disconnect` it answers
 * with how many ms that took.
 */

const [file = '', runFolder = '', stateFolder = ''] = process.argv.slice(2);
const config = readFileSync(file, 'utf8');
let tunnel: Tunnel | undefined;

for await (const line of createInterface({ input: process.stdin })) {
  const begin = performance.now();
  if (line === 'connect') tunnel = await connect({ config, name: 'vpn', runFolder, stateFolder });
  else await tunnel?.disconnect();
  process.stdout.write(`${performance.now() - begin}\n`);
}
