import type { SandboxResource } from '../api/client/client.ts';
import { printTable } from './output.ts';
import { policyText, rateText } from './specification.ts';

const HEAD = ['ID', 'TOPOLOGY', 'SLOT', 'GEN', 'HOST ADDRESS', 'INSIDE', 'GATEWAY', 'GROUP', 'EGRESS', 'TX', 'RX'];

/** A line per sandbox. */
export function printSandboxes(sandboxes: readonly SandboxResource[]): void {
  printTable(HEAD, sandboxes.map(row));
}

/** `internet via nl1`; of one that has the tunnel for itself no router sees what leaves. */
function egressText({ policy, via, group }: SandboxResource): string {
  if (via === undefined) return policyText(policy);
  return group === undefined ? `via ${via}` : `${policyText(policy)} via ${via}`;
}

function row(sandbox: SandboxResource): string[] {
  const { id, topology, slot, generation, hostAddress, guestAddress, gateway, rates } = sandbox;
  const numbers = [String(slot), String(generation)];
  const addresses = [hostAddress, guestAddress, gateway];
  return [
    id,
    topology,
    ...numbers,
    ...addresses,
    sandbox.group ?? '-',
    egressText(sandbox),
    rateText(rates.transmit),
    rateText(rates.receive),
  ];
}
