package control

// The operations. What is told of those with -n are forecasts, a line each. Those that say nothing of whom they are for are the
// owner's: they reach beyond the pool (the mount, the program, the device, the host's key), or read all of it.
var (
	Info      = Op[None, PoolInfo]{Name: "info", Reads: true, For: Readers}
	Map       = Op[MapArgs, []MapCell]{Name: "map", Reads: true, For: Readers}
	Metrics   = Op[MetricsArgs, PoolMetrics]{Name: "metrics", Reads: true, For: Readers}
	Umount    = Op[UmountArgs, UmountResult]{Name: "umount", Reads: true} // of the pool nothing
	Reload    = Op[None, string]{Name: "reload", Reads: true}             // of the pool nothing; the new version
	Create    = Op[CreateArgs, []string]{Name: "create", For: Operators}
	Snapshot  = Op[SnapshotArgs, []string]{Name: "snapshot", For: Operators}
	Rollback  = Op[RollbackArgs, []string]{Name: "rollback", For: Operators}
	Clone     = Op[CloneArgs, None]{Name: "clone", For: Operators}
	Tag       = Op[TagArgs, int]{Name: "tag", For: Operators} // the snapshots that it changed
	Holds     = Op[HoldsArgs, []Hold]{Name: "holds", Reads: true, For: Readers}
	Destroy   = Op[DestroyArgs, DestroyResult]{Name: "destroy", For: Operators}
	Undestroy = Op[UndestroyArgs, string]{Name: "undestroy", For: Operators} // the path
	Rename    = Op[RenameArgs, None]{Name: "rename", For: Operators}
	Resize    = Op[ResizeArgs, []string]{Name: "resize", For: Operators}
	List      = Op[ListArgs, []Row]{Name: "list", Reads: true, For: Readers}
	Tree      = Op[Object, []TreeInfo]{Name: "tree", Reads: true, For: Readers}
	Set       = Op[SetArgs, []string]{Name: "set", For: Operators}
	Get       = Op[GetArgs, []PropValue]{Name: "get", Reads: true, For: Readers}
	Jobs      = Op[None, EraseInfo]{Name: "jobs", Reads: true, For: Readers}
	Drain     = Op[None, None]{Name: "drain", For: Operators}
	First     = Op[FirstArgs, None]{Name: "first", For: Operators}
	EraseRecs = Stream[None, []EraseRecord, LogInfo]{Name: "erase-records", Reads: true, For: Readers}
	Events    = Stream[EventsArgs, []Event, EventsInfo]{Name: "events", Reads: true, For: Readers}
	Prove     = Op[EvidenceArgs, []Evidence]{Name: "evidence", Reads: true}
	Certify   = Op[CertifyArgs, Certified]{Name: "certify", Reads: true} // of the pool only a signature
	Check     = Stream[CheckArgs, Progress, CheckReport]{Name: "check-online", Reads: true}
	Dump      = Op[None, string]{Name: "dump", Reads: true}
	DumpAll   = Stream[DumpArgs, string, DumpResult]{Name: "dump-all", Reads: true} // events: lines of JSON
	Audit     = Stream[None, Progress, AuditInfo]{Name: "audit", Reads: true}
	Extend    = Op[ExtendArgs, PoolSize]{Name: "extend"}
	Reduce    = Op[ReduceArgs, PoolSize]{Name: "reduce"}
)
