/** A program that prints its port and echoes what it hears over TCP. */
export const ECHO = `
  const server = require('node:net').createServer((socket) => socket.on('error', () => {}).pipe(socket));
  server.listen(0, '0.0.0.0', () => console.log(server.address().port));
  process.stdin.resume();`;

/** One that sends each line that it reads over one connection to `ADDRESS PORT`, and prints what comes back within a second. */
export const CALLER = `
  const socket = require('node:net').connect(process.argv[2], process.argv[1], () => console.log('connected'));
  socket.on('error', () => {});
  require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
    const waiting = setTimeout(() => console.log('no answer'), 1000);
    socket.removeAllListeners('data').once('data', (text) => {
      clearTimeout(waiting);
      console.log(String(text).trim());
    });
    socket.write(line + '\\n');
  });`;
