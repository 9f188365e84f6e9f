package control

// The operations. What is told of those with -n are forecasts, a line each.
var (
	Info      = Op[None, PoolInfo]{Name: "info", Reads: true}
	Umount    = Op[UmountArgs, UmountResult]{Name: "umount", Reads: true} // of the pool nothing
	Reload    = Op[None, string]{Name: "reload", Reads: true}             // of the pool nothing; the new version
	Create    = Op[CreateArgs, []string]{Name: "create"}
	Snapshot  = Op[SnapshotArgs, []string]{Name: "snapshot"}
	Rollback  = Op[RollbackArgs, []string]{Name: "rollback"}
	Clone     = Op[CloneArgs, None]{Name: "clone"}
	Destroy   = Op[DestroyArgs, DestroyResult]{Name: "destroy"}
	Undestroy = Op[UndestroyArgs, string]{Name: "undestroy"} // the path
	Rename    = Op[RenameArgs, None]{Name: "rename"}
	Resize    = Op[ResizeArgs, []string]{Name: "resize"}
	List      = Op[ListArgs, []Row]{Name: "list", Reads: true}
	Tree      = Op[Object, []TreeInfo]{Name: "tree", Reads: true}
	Set       = Op[SetArgs, []string]{Name: "set"}
	Get       = Op[GetArgs, []PropValue]{Name: "get", Reads: true}
	Jobs      = Op[None, EraseInfo]{Name: "jobs", Reads: true}
	Drain     = Op[None, None]{Name: "drain"}
	First     = Op[FirstArgs, None]{Name: "first"}
	EraseRecs = Stream[None, []EraseRecord, LogInfo]{Name: "erase-records", Reads: true}
	Prove     = Op[EvidenceArgs, []Evidence]{Name: "evidence", Reads: true}
	Certify   = Op[CertifyArgs, Certified]{Name: "certify", Reads: true} // of the pool only a signature
	Check     = Stream[CheckArgs, Progress, CheckReport]{Name: "check-online", Reads: true}
	Dump      = Op[None, string]{Name: "dump", Reads: true}
	DumpAll   = Stream[DumpArgs, string, DumpResult]{Name: "dump-all", Reads: true} // events: lines of JSON
	Audit     = Stream[None, Progress, AuditInfo]{Name: "audit", Reads: true}
	Extend    = Op[ExtendArgs, PoolSize]{Name: "extend"}
	Reduce    = Op[ReduceArgs, PoolSize]{Name: "reduce"}
)
