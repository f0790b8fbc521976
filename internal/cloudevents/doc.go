// Package cloudevents tests that the official CloudEvents SDK for Go accepts
// what the sinks write, and reads from it what was published. It has no code
// of its own: the SDK is no part of the connector.
package cloudevents
