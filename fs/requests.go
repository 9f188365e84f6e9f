package fs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// doing is what becomes of a flag or capability.
type doing uint8

const (
	obeyed   doing = iota + 1 // it changes what is done
	harmless                  // there is nothing to do about it
	refused                   // the request is answered with an error
	unasked                   // it is not asked for in INIT, or comes only with what is not
)

// flag is one bit, or a field of some, by the name that linux/fuse.h or its own header gives it.
type flag struct {
	name string
	bits uint64
	what doing
	how  string
}

// capabilities are what the kernel offers in INIT. Who is obeyed is asked for, nothing else is.
var capabilities = []flag{
	{"ASYNC_READ", fuse.CAP_ASYNC_READ, obeyed, "reads of one file run beside each other"},
	{"POSIX_LOCKS", fuse.CAP_POSIX_LOCKS, unasked, "the kernel keeps locks itself: one mount is on one host"},
	{"FILE_OPS", fuse.CAP_FILE_OPS, unasked, "Linux does not use it"},
	{"ATOMIC_O_TRUNC", fuse.CAP_ATOMIC_O_TRUNC, obeyed, "OPEN truncates: an immutable file or a drain refuses both in one"},
	{"EXPORT_SUPPORT", fuse.CAP_EXPORT_SUPPORT, unasked, "no lookups of . and .. for NFS"},
	{"BIG_WRITES", fuse.CAP_BIG_WRITES, obeyed, "more than a page in one WRITE"},
	{"DONT_MASK", fuse.CAP_DONT_MASK, unasked, "the kernel applies the umask"},
	{"SPLICE_WRITE", fuse.CAP_SPLICE_WRITE, unasked, "splice gives short reads inside a file"},
	{"SPLICE_MOVE", fuse.CAP_SPLICE_MOVE, unasked, "as SPLICE_WRITE"},
	{"SPLICE_READ", fuse.CAP_SPLICE_READ, unasked, "as SPLICE_WRITE"},
	{"FLOCK_LOCKS", fuse.CAP_FLOCK_LOCKS, unasked, "as POSIX_LOCKS"},
	{"IOCTL_DIR", fuse.CAP_IOCTL_DIR, unasked, "chattr comes through all the same"},
	{"AUTO_INVAL_DATA", fuse.CAP_AUTO_INVAL_DATA, obeyed, "mapped pages go when size or mtime changed"},
	{"READDIRPLUS", fuse.CAP_READDIRPLUS, obeyed, "names with attributes"},
	{"READDIRPLUS_AUTO", fuse.CAP_READDIRPLUS_AUTO, unasked, "always with attributes: they are in memory"},
	{"ASYNC_DIO", fuse.CAP_ASYNC_DIO, obeyed, "else the direct I/O of a file comes one at a time"},
	{"WRITEBACK_CACHE", fuse.CAP_WRITEBACK_CACHE, unasked, "data must pass by here at once"},
	{"NO_OPEN_SUPPORT", fuse.CAP_NO_OPEN_SUPPORT, unasked, "opens are counted"},
	{"PARALLEL_DIROPS", fuse.CAP_PARALLEL_DIROPS, obeyed, "lookups in one directory run beside each other"},
	{"HANDLE_KILLPRIV", fuse.CAP_HANDLE_KILLPRIV, unasked, "its second version says when"},
	{"POSIX_ACL", fuse.CAP_POSIX_ACL, unasked, "there are no ACLs"},
	{"ABORT_ERROR", fuse.CAP_ABORT_ERROR, unasked, "nobody reads from an aborted connection"},
	{"MAX_PAGES", fuse.CAP_MAX_PAGES, obeyed, "1 MiB in one request"},
	{"CACHE_SYMLINKS", fuse.CAP_CACHE_SYMLINKS, unasked, "a symlink may be replaced"},
	{"NO_OPENDIR_SUPPORT", fuse.CAP_NO_OPENDIR_SUPPORT, unasked, "a removed directory is told from one that is there"},
	{"EXPLICIT_INVAL_DATA", fuse.CAP_EXPLICIT_INVAL_DATA, unasked, "AUTO_INVAL_DATA is asked for"},
	{"MAP_ALIGNMENT", fuse.CAP_MAP_ALIGNMENT, unasked, "no DAX"},
	{"SUBMOUNTS", fuse.CAP_SUBMOUNTS, unasked, "one mount is one file system"},
	{"HANDLE_KILLPRIV_V2", fuse.CAP_HANDLE_KILLPRIV_V2, obeyed, "setuid bits go with a change (priv.go)"},
	{"SETXATTR_EXT", fuse.CAP_SETXATTR_EXT, unasked, "for ACLs"},
	{"INIT_EXT", fuse.CAP_INIT_EXT, obeyed, "the flags beyond 32 bits"},
	{"INIT_RESERVED", fuse.CAP_INIT_RESERVED, unasked, "not to be used"},
	{"SECURITY_CTX", fuse.CAP_SECURITY_CTX, unasked, "there are no security attributes"},
	{"HAS_INODE_DAX", fuse.CAP_HAS_INODE_DAX, unasked, "no DAX"},
	{"CREATE_SUPP_GROUP", fuse.CAP_CREATE_SUPP_GROUP, unasked, "the kernel checks who may create"},
	{"HAS_EXPIRE_ONLY", fuse.CAP_HAS_EXPIRE_ONLY, unasked, "names that went are dropped, not expired"},
	{"DIRECT_IO_ALLOW_MMAP", fuse.CAP_DIRECT_IO_ALLOW_MMAP, obeyed, "else a shared mmap of a volume is ENODEV"},
	{"PASSTHROUGH", fuse.CAP_PASSTHROUGH, unasked, "data must pass by here"},
	{"NO_EXPORT_SUPPORT", fuse.CAP_NO_EXPORT_SUPPORT, unasked, "file handles may work while an inode is cached"},
	{"HAS_RESEND", fuse.CAP_HAS_RESEND, obeyed, "who takes over has what was not answered sent again (takeover.go)"},
	{"ALLOW_IDMAP", fuse.CAP_ALLOW_IDMAP, unasked, "requests would not say who asks, which the erase log tells"},
	{"OVER_IO_URING", fuse.CAP_OVER_IO_URING, unasked, "another transport"},
	{"REQUEST_TIMEOUT", fuse.CAP_REQUEST_TIMEOUT, unasked, "a device may take its time"},
}

// asked are the capabilities that are asked for.
func asked() (caps uint64) {
	for _, c := range capabilities {
		if c.what == obeyed {
			caps |= c.bits
		}
	}
	return caps
}

// requestFlags are the flags that come with requests, by the field that they come in.
var requestFlags = map[string][]flag{
	"OPEN, CREATE, READ, WRITE: flags": {
		{"O_ACCMODE", unix.O_ACCMODE, obeyed, "opens are counted by it; a snapshot or an immutable file is not written"},
		{"O_CREAT", unix.O_CREAT, harmless, "the kernel sends CREATE for it"},
		{"O_EXCL", unix.O_EXCL, obeyed, "CREATE of a name that a command has made meanwhile is EEXIST"},
		{"O_NOCTTY", unix.O_NOCTTY, harmless, "no terminals"},
		{"O_TRUNC", unix.O_TRUNC, obeyed, "by OPEN and CREATE"},
		{"O_APPEND", unix.O_APPEND, obeyed, "WRITE goes to the end that there is (chain/append.go)"},
		{"O_NONBLOCK", unix.O_NONBLOCK, harmless, "regular files don't block"},
		{"O_DSYNC", unix.O_DSYNC, obeyed, "WRITE is durable when it is answered; RWF_DSYNC sends it too"},
		{"O_SYNC", unix.O_SYNC &^ unix.O_DSYNC, harmless, "comes with O_DSYNC, which makes times durable as well"},
		{"FASYNC", 0o20000, harmless, "no signals"},
		{"O_DIRECT", unix.O_DIRECT, obeyed, "READ and WRITE in units of 512 bytes, else EINVAL"},
		{"O_LARGEFILE", 0o100000, harmless, "offsets have 64 bits"},
		{"O_DIRECTORY", unix.O_DIRECTORY, harmless, "the kernel checks the type"},
		{"O_NOFOLLOW", unix.O_NOFOLLOW, harmless, "the kernel walks the path"},
		{"O_NOATIME", unix.O_NOATIME, harmless, "reads change no access time"},
		{"O_CLOEXEC", unix.O_CLOEXEC, harmless, "of the descriptor"},
		{"O_PATH", unix.O_PATH, harmless, "no OPEN is sent"},
		{"O_TMPFILE", unix.O_TMPFILE &^ unix.O_DIRECTORY, refused, "TMPFILE is ENOSYS, which open(2) makes EOPNOTSUPP"},
		{"__FMODE_EXEC", 0x20, harmless, "a file may be executed"},
	},
	"OPEN: open flags": {
		{"OPEN_KILL_SUIDGID", fuse.OPEN_KILL_SUIDGID, obeyed, "O_TRUNC takes setuid bits away"},
	},
	"READ: read flags": {
		{"READ_LOCKOWNER", fuse.READ_LOCKOWNER, harmless, "no mandatory locks"},
	},
	"WRITE: write flags": {
		{"WRITE_CACHE", fuse.WRITE_CACHE, obeyed, "from an mmap: without an open, so without its flags"},
		{"WRITE_LOCKOWNER", fuse.WRITE_LOCKOWNER, harmless, "no mandatory locks"},
		{"WRITE_KILL_SUIDGID", fuse.WRITE_KILL_SUIDGID, obeyed, "takes setuid bits away"},
	},
	"GETATTR, STATX: getattr flags": {
		{"FUSE_GETATTR_FH", fuse.FUSE_GETATTR_FH, harmless, "handles have no state"},
	},
	"SETATTR: valid": {
		{"FATTR_MODE", fuse.FATTR_MODE, obeyed, ""},
		{"FATTR_UID", fuse.FATTR_UID, obeyed, ""},
		{"FATTR_GID", fuse.FATTR_GID, obeyed, ""},
		{"FATTR_SIZE", fuse.FATTR_SIZE, obeyed, ""},
		{"FATTR_ATIME", fuse.FATTR_ATIME, obeyed, ""},
		{"FATTR_MTIME", fuse.FATTR_MTIME, obeyed, ""},
		{"FATTR_FH", fuse.FATTR_FH, harmless, "handles have no state"},
		{"FATTR_ATIME_NOW", fuse.FATTR_ATIME_NOW, obeyed, "by the daemon's clock"},
		{"FATTR_MTIME_NOW", fuse.FATTR_MTIME_NOW, obeyed, "by the daemon's clock"},
		{"FATTR_LOCKOWNER", fuse.FATTR_LOCKOWNER, harmless, "no mandatory locks"},
		{"FATTR_CTIME", fuse.FATTR_CTIME, unasked, "with WRITEBACK_CACHE: the daemon's clock says when it was"},
		{"FATTR_KILL_SUIDGID", fuse.FATTR_KILL_SUIDGID, obeyed, "a new owner or size takes setuid bits away"},
	},
	"RENAME2: flags": {
		{"RENAME_NOREPLACE", unix.RENAME_NOREPLACE, obeyed, ""},
		{"RENAME_EXCHANGE", unix.RENAME_EXCHANGE, obeyed, ""},
		{"RENAME_WHITEOUT", unix.RENAME_WHITEOUT, refused, "EINVAL: no device nodes"},
	},
	"SETXATTR: flags": {
		{"XATTR_CREATE", unix.XATTR_CREATE, obeyed, ""},
		{"XATTR_REPLACE", unix.XATTR_REPLACE, obeyed, ""},
	},
	"FALLOCATE: mode": {
		{"FALLOC_FL_KEEP_SIZE", unix.FALLOC_FL_KEEP_SIZE, obeyed, ""},
		{"FALLOC_FL_PUNCH_HOLE", unix.FALLOC_FL_PUNCH_HOLE, obeyed, ""},
		{"FALLOC_FL_NO_HIDE_STALE", unix.FALLOC_FL_NO_HIDE_STALE, refused, "EOPNOTSUPP: nobody sees stale bytes"},
		{"FALLOC_FL_COLLAPSE_RANGE", unix.FALLOC_FL_COLLAPSE_RANGE, refused, "EOPNOTSUPP"},
		{"FALLOC_FL_ZERO_RANGE", unix.FALLOC_FL_ZERO_RANGE, obeyed, ""},
		{"FALLOC_FL_INSERT_RANGE", unix.FALLOC_FL_INSERT_RANGE, refused, "EOPNOTSUPP"},
		{"FALLOC_FL_UNSHARE_RANGE", unix.FALLOC_FL_UNSHARE_RANGE, refused, "EOPNOTSUPP"},
	},
	"FSYNC, FSYNCDIR: flags": {
		{"FSYNC_FDATASYNC", 1, harmless, "one flush makes data and metadata durable"},
	},
	"RELEASE: flags": {
		{"RELEASE_FLUSH", fuse.RELEASE_FLUSH, harmless, "nothing waits for a close"},
		{"RELEASE_FLOCK_UNLOCK", 2, unasked, "with FLOCK_LOCKS"},
	},
	"GETLK, SETLK, SETLKW: flags": {
		{"LK_FLOCK", fuse.LK_FLOCK, unasked, "with FLOCK_LOCKS"},
	},
	"IOCTL: flags": {
		{"IOCTL_COMPAT", fuse.IOCTL_COMPAT, harmless, "the numbers that are known are the same"},
		{"IOCTL_UNRESTRICTED", fuse.IOCTL_UNRESTRICTED, unasked, "of CUSE"},
		{"IOCTL_RETRY", fuse.IOCTL_RETRY, unasked, "of CUSE"},
		{"IOCTL_DIR", fuse.IOCTL_DIR, harmless, "directories have the immutable flag, too"},
	},
}

// opcode is a kind of request.
type opcode struct {
	code uint32
	what doing
	how  string
}

// opcodes are the requests, by the names of linux/fuse.h.
var opcodes = map[string]opcode{
	"LOOKUP":             {codeLookup, obeyed, "on the loop"},
	"FORGET":             {codeForget, obeyed, ""},
	"GETATTR":            {codeGetAttr, obeyed, "on the loop"},
	"SETATTR":            {4, obeyed, ""},
	"READLINK":           {5, obeyed, ""},
	"SYMLINK":            {6, obeyed, ""},
	"MKNOD":              {8, obeyed, "regular files; anything else is EPERM"},
	"MKDIR":              {9, obeyed, ""},
	"UNLINK":             {10, obeyed, ""},
	"RMDIR":              {11, obeyed, ""},
	"RENAME":             {12, obeyed, ""},
	"LINK":               {13, refused, "EPERM: an inode has one name"},
	"OPEN":               {14, obeyed, ""},
	"READ":               {codeRead, obeyed, "on the loop"},
	"WRITE":              {codeWrite, obeyed, "on the loop"},
	"STATFS":             {codeStatFS, obeyed, "on the loop"},
	"RELEASE":            {18, obeyed, ""},
	"FSYNC":              {codeFsync, obeyed, ""},
	"SETXATTR":           {21, obeyed, "user.*; anything else is EOPNOTSUPP"},
	"GETXATTR":           {codeGetXattr, obeyed, ""},
	"LISTXATTR":          {codeListXattr, obeyed, ""},
	"REMOVEXATTR":        {24, obeyed, ""},
	"FLUSH":              {25, harmless, "opens say FOPEN_NOFLUSH"},
	"INIT":               {26, obeyed, "by go-fuse, with the capabilities above"},
	"OPENDIR":            {27, obeyed, ""},
	"READDIR":            {codeReadDir, obeyed, ""},
	"RELEASEDIR":         {29, harmless, "a directory's handle has no state"},
	"FSYNCDIR":           {30, obeyed, ""},
	"GETLK":              {31, unasked, "with POSIX_LOCKS"},
	"SETLK":              {32, unasked, "with POSIX_LOCKS"},
	"SETLKW":             {33, unasked, "with POSIX_LOCKS"},
	"ACCESS":             {34, obeyed, "with default_permissions the kernel does not ask"},
	"CREATE":             {35, obeyed, ""},
	"INTERRUPT":          {codeInterrupt, obeyed, "of what may take long; READ and WRITE go on to their end"},
	"BMAP":               {37, refused, "ENOSYS: swap files and boot loaders would go past the map"},
	"DESTROY":            {38, harmless, "of block devices"},
	"IOCTL":              {codeIoctl, obeyed, "the immutable flag; anything else is ENOTTY"},
	"POLL":               {40, refused, "ENOSYS: always ready"},
	"NOTIFY_REPLY":       {41, unasked, "nothing is fetched from the kernel's cache"},
	"BATCH_FORGET":       {codeBatchForget, obeyed, ""},
	"FALLOCATE":          {43, obeyed, ""},
	"READDIRPLUS":        {codeReadDirPlus, obeyed, ""},
	"RENAME2":            {45, obeyed, ""},
	"LSEEK":              {46, obeyed, "SEEK_DATA and SEEK_HOLE"},
	"COPY_FILE_RANGE":    {47, obeyed, "flags are EINVAL: there are none"},
	"SETUPMAPPING":       {48, unasked, "no DAX"},
	"REMOVEMAPPING":      {49, unasked, "no DAX"},
	"SYNCFS":             {50, refused, "ENOSYS; Linux sends it to virtiofs only"},
	"TMPFILE":            {51, refused, "ENOSYS: every file has a name"},
	"STATX":              {52, obeyed, ""},
	"COPY_FILE_RANGE_64": {53, refused, "ENOSYS: the kernel falls back to COPY_FILE_RANGE"},
}
