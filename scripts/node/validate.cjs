// Validates what the file sink wrote, line by line, with ajv:  node.sh run validate.cjs FILE SCHEMA...
// The dataschema of a line says by which schema. Prints what is wrong with the first ten that are invalid, then the counts.
// Exits with 1 unless all are valid, and there are some.
"use strict";
const fs = require("node:fs");
const readline = require("node:readline");
const Ajv2020 = require("ajv/dist/2020");
const addFormats = require("ajv-formats");

async function main([file, ...schemas]) {
	const ajv = addFormats(new Ajv2020({ strict: true, allErrors: true }));
	const validators = new Map();
	for (const name of schemas) {
		const schema = JSON.parse(fs.readFileSync(name, "utf8"));
		validators.set(schema.$id, ajv.compile(schema));
	}
	let line = 0;
	let invalid = 0;
	for await (const text of readline.createInterface({ input: fs.createReadStream(file), crlfDelay: Infinity })) {
		line++;
		const message = JSON.parse(text);
		const validate = validators.get(message.dataschema);
		if (validate && validate(message.data)) continue;
		invalid++;
		if (invalid <= 10) {
			const why = validate ? ajv.errorsText(validate.errors, { dataVar: "data" }) : "no schema " + message.dataschema;
			console.log(`line ${line}, ${message.type} ${message.id}: ${why}`);
		}
	}
	console.log(`${line - invalid} valid, ${invalid} invalid`);
	return invalid > 0 || line === 0 ? 1 : 0;
}

main(process.argv.slice(2)).then((code) => (process.exitCode = code));
