import { flushCompileCache } from 'node:module';
import { createInterface } from 'node:readline';
import type { ConnectOptions } from '../src/tunnel/client/request.ts';
import { connect, type Tunnel } from '../src/tunnel/client/tunnel.ts';

/*
 * A program that has a tunnel by the library. It says `ready` when it could begin, and to each line, options of connect()
 * or null to disconnect, it answers with a VpnAnswer; all in JSON. Where that fails it ends.
 */

export type VpnAnswer = {
  /** ms, from the call until it returned */
  readonly took: number;
  readonly wasAdopted: boolean;
  readonly notices: readonly string[];
};

let tunnel: Tunnel | undefined;

// who is killed writes none
flushCompileCache();
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const options = JSON.parse(line) as ConnectOptions | null;
  const begin = performance.now();
  if (options === null) await tunnel?.disconnect();
  else tunnel = await connect(options);
  const took = performance.now() - begin;
  const answer: VpnAnswer = { took, wasAdopted: tunnel?.wasAdopted ?? false, notices: tunnel?.notices ?? [] };
  console.log(JSON.stringify(answer));
}
