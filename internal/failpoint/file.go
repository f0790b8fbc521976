package failpoint

// The steps of the sink that appends to a file.
const (
	FileOpen     Point = "file-open"     // file and checkpoint are read and locked; nothing is changed
	FileCut      Point = "file-cut"      // what was never committed is cut off; the unit is not taken over
	FileTakeover Point = "file-takeover" // the file is as the checkpoint says; the takeover is not saved
	FileTaken    Point = "file-taken"    // the takeover is saved
	FileAppend   Point = "file-append"   // nothing of a commit is written
	FileWritten  Point = "file-written"  // the messages are written and not synced
	FileSynced   Point = "file-synced"   // the messages are on disk; their length is not saved
	FileSaved    Point = "file-saved"    // the commit is durable, and nothing noted
	FileRotate   Point = "file-rotate"   // the file is large enough; nothing is saved of its rotation
	FileRotating Point = "file-rotating" // that the file is to be put away is saved
	FileRenamed  Point = "file-renamed"  // it is put away; there is no new one
	FileCreated  Point = "file-created"  // there is a new one; the rotation is not saved
	FileRotated  Point = "file-rotated"  // the rotation is saved
)

// File lists them; those from FileRotate on are reached when files rotate, and
// FileCut when a commit was interrupted.
var File = []Point{
	FileOpen, FileCut, FileTakeover, FileTaken, FileAppend, FileWritten, FileSynced, FileSaved,
	FileRotate, FileRotating, FileRenamed, FileCreated, FileRotated,
}
