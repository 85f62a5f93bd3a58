// CCXT for JavaScript, unmodified, told what to call by lines of JSON. usage: node venue_program.mjs CCXT EXCHANGE
//
// The first line has the settings, each other one {"call", "arguments"}; for each of them one line comes back, {"answer"}, or
// {"error", "message"} with the class that CCXT raised.
import { createInterface } from 'node:readline';

const [folder, name] = process.argv.slice(2);
const ccxt = (await import(`${folder}/js/ccxt.js`)).default;
let exchange;
for await (const line of createInterface({ input: process.stdin })) {
    const asked = JSON.parse(line);
    if (!exchange) {
        exchange = new ccxt[name](asked);
        continue;
    }
    let said;
    try {
        // CCXT tells an argument that is left out from one that is null.
        said = { answer: await exchange[asked.call](...asked.arguments.map((one) => one ?? undefined)) };
    } catch (error) {
        said = { error: error.constructor.name, message: error.message };
    }
    process.stdout.write(JSON.stringify(said) + '\n');
}
