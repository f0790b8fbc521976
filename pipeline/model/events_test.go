package model

import (
	"fmt"
	"io"
)

// kind is a kind of event whose occurrences a run counts.
type kind int

const (
	rowOnTime kind = iota
	rowLate
	rowBeyond
	rowBeforeStart
	rowLeft
	rowChanged
	rowChangedSettled
	rankRepeated
	versionUnseen
	tieOverPage
	tieEnumerated
	gapListed
	pageFull
	pageDescends
	answerCapped
	rowTwice
	rowTwiceOlder
	watchRead
	manyWindows
	faultNow
	faultRequest
	faultCut
	faultThrottle
	answerStale
	answerOlder
	answerLacks
	clockSkewed
	clockForward
	clockBack
	clockWrong
	commitFailed
	publishPartial
	publishedAgain
	resolvedDead
	markRecovered
	commitRejected
	staleDropped
	forgotten
	deadDecode
	deadNoTime
	deadNoID
	deadNormalize
	deadTooLarge
	deadSink
	stopNow
	stopRequest
	stopRow
	stopBefore
	stopInside
	stopPublished
	stopAfter
	stopGraceful
	stopTakeover
	zombieFenced
	longOutage
	firstCommitLost
	capRaised
	tieOverCap
	answerCached
	answerClamped
	rowOutside
	rowOfType
	rowOfCompany
	faultWeb
	faultObject
	faultToken
	faultStamp
	faultSilent
	faultStall
	rowInFold
	rowAfterGap
	echoElsewhere
	leftTold
	newestFirst
	pageOfSMS
	pageOfXML
	pageDescendsSMS
	pageUnordered
	callChanged
	formatChanged
	deadAgain
	pendingOnly
	countOfKinds
)

var kindNames = [countOfKinds]string{
	rowOnTime: "row shows when created", rowLate: "row late within the lateness", rowBeyond: "row late beyond the lateness",
	rowBeforeStart: "row created before the start", rowLeft: "row leaves the log", rowChanged: "row changes",
	rowChangedSettled: "row changes after it settled", rankRepeated: "two versions of one rank", versionUnseen: "version replaced before it was read",
	tieOverPage: "tie larger than a page", tieEnumerated: "page of index > 0", gapListed: "gap listed", pageFull: "full page", pageDescends: "full page, latest first",
	answerCapped: "answer cut by a hidden cap", rowTwice: "row twice in one answer", rowTwiceOlder: "row in two versions in one answer", watchRead: "settled window read again", manyWindows: "reading of several windows",
	faultNow: "provider's time refused", faultRequest: "request failed", faultCut: "answer cut after some rows", faultThrottle: "throttled",
	answerStale: "stale answer", answerOlder: "stale answer with an older version", answerLacks: "stale answer without a row",
	clockSkewed: "clocks differ", clockForward: "provider's clock steps forward", clockBack: "provider's clock steps back", clockWrong: "provider's time wrong once",
	commitFailed: "commit failed, not durable", publishPartial: "messages stored, then an error", publishedAgain: "event repeated by a sink that cannot dedupe",
	resolvedDead:   "dead letters of a record resolved by its event",
	markRecovered:  "mark of a message whose state was not saved",
	commitRejected: "commit with a rejected message", staleDropped: "older version read again", forgotten: "ledger entry forgotten",
	deadDecode: "poison: undecodable", deadNoTime: "poison: without time", deadNoID: "poison: without id", deadNormalize: "poison: not normalizable",
	deadTooLarge: "poison: too large", deadSink: "poison: rejected by the sink",
	stopNow: "crash while asking the time", stopRequest: "crash at a request", stopRow: "crash mid-chunk", stopBefore: "crash before a commit",
	stopInside: "crash inside a commit, not durable", stopPublished: "crash between publishing and saving",
	stopAfter: "crash after a durable commit, unanswered", stopGraceful: "graceful stop", stopTakeover: "takeover", zombieFenced: "zombie fenced",
	longOutage: "down longer than the lateness", firstCommitLost: "crash before the first durable commit",
	capRaised: "hidden cap raised", tieOverCap: "tie larger than the hidden cap", answerCached: "cached answer to another request",
	answerClamped: "page of another size than asked for", rowOutside: "row from outside the window", rowOfType: "row of another message type, page of another appid",
	rowOfCompany: "row of another company", faultWeb: "web page as an answer", faultObject: "error object or no list, status 200",
	faultToken: "access token refused", faultStamp: "signature too old or too new", faultSilent: "no answer for a minute", faultStall: "answer stalls after some rows",
	rowInFold: "row at a local time that comes twice", rowAfterGap: "row in the hour after skipped local times", echoElsewhere: "provider that echoes other dates",
	leftTold: "row reported as left", newestFirst: "newer time read before older",
	pageOfSMS: "page of sms/log", pageOfXML: "page in XML", pageDescendsSMS: "full page of sms/log, latest first", pageUnordered: "full page of sms/log, in no order",
	callChanged: "start with the other call", formatChanged: "start with the other format", deadAgain: "poison again, in the other call or format",
	pendingOnly: "row of which several changes show as pending",
}

// counts says how often each kind of event occurred.
type counts [countOfKinds]int

func (c *counts) add(o *counts) {
	for k, n := range o {
		c[k] += n
	}
}

// print writes the table and returns the kinds that occurred less than least times.
func (c *counts) print(w io.Writer, least int) (rare []string) {
	for k, n := range c {
		fmt.Fprintf(w, "%9d  %s\n", n, kindNames[k])
		if n < least {
			rare = append(rare, kindNames[k])
		}
	}
	return rare
}
