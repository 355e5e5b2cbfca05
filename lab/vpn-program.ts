import { flushCompileCache } from 'node:module';
import { createInterface } from 'node:readline';
import type { ConnectOptions } from '../src/tunnel/client/request.ts';
import { connect, type Tunnel } from '../src/tunnel/client/tunnel.ts';

/*
 * A program that has a tunnel by the library, see vpn-client.ts. It says `ready` when it could begin, and to each line,
 * options of connect() or null to disconnect, it answers with a VpnAnswer; all in JSON.
 */

export type VpnAnswer =
  | {
      /** ms, from the call until it returned */
      readonly took: number;
      readonly wasAdopted: boolean;
      readonly notices: readonly string[];
    }
  | { readonly code: string; readonly message: string };

let tunnel: Tunnel | undefined;

async function answer(options: ConnectOptions | null): Promise<VpnAnswer> {
  const begin = performance.now();
  try {
    if (options === null) await tunnel?.disconnect();
    else tunnel = await connect(options);
    const took = performance.now() - begin;
    return { took, wasAdopted: tunnel?.wasAdopted ?? false, notices: tunnel?.notices ?? [] };
  } catch (error) {
    const { code = 'none', message } = error as NodeJS.ErrnoException;
    return { code, message };
  }
}

// who is killed writes none
flushCompileCache();
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(JSON.parse(line) as ConnectOptions | null)));
}
