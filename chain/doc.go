// Package chain is a pool: volumes, the layers of their chains, maps, dead lists, erase jobs, the space ledger and the
// namespace. It is the only writer of the pool's journal and metadata. It decides where bytes are and moves none of
// them: who holds the bytes carries out its plans.
//
// # One way to change a pool
//
// A change is a record. It goes into the batch of the next commit and is applied to memory by the same method that
// replays it after a crash (commitLog.do, record). Records that cut trees say so (cutter) and are made under the structure
// lock. What changed since the last checkpoint lies in memory, ordered as the trees on disk are: storeys over maps,
// entries over lists, rows over the catalog. So a record reads no page, and replay reads none but what a structure
// change cuts. A checkpoint freezes what is in memory at one instant, merges it into new pages beside the old ones, and
// publishes both.
//
// What is derived from it is kept by the same records: the accounts of the ledger, from the rows that they put (followRow)
// and from what the tree of layers tells (accountant); a mount builds them anew, and Check compares. Besides records only
// open plans change an account: by what they hold, which nobody stores.
//
// What needs no pool is in packages below this one, which know nothing of it: overlay (storeys over a map), runs (lists of
// runs by birth), catalog (the table of rows), codec (fields of rows and records), evidence (the chain of the erase log), super
// (superblocks), property (what can be set), size. They take no locks: this package does, and their errors become this one's in wrapCorrupt and asInvalid.
//
// # Invariants, and where they live
//
//   - Data before map (4): commitLog.commit syncs the device, then writes just the records whose data had arrived. One sync is enough
//     for a batch that only fills holes, since a crash leaves zeros there or data.
//   - Durable before clean is left (3): blockSpace.claim, Volume.mapClean, admission.grantNow. Their blocks are on the host before that:
//     blockSpace.takeClean, hostspace.go.
//   - Free, erase, reuse in that order (5, 11): Pool.Next seals a job, and hands it out when every plan from before is
//     closed and the seal is durable; Pool.Report applies the erase record, and only a later claim, whose record
//     follows it, may hand the blocks out.
//   - Snapshots are atomic (9): Pool.Snapshot, layerTree.head; nothing is private because of a destroy before its record is durable,
//     and the plans from before it are closed: layerTree.private.
//   - Promises are covered (8): the ledger counts them, admit.go tries every change on it before it is made (ahead.go: many in pieces).
//   - What a device gains is dirty, what is given up is clean and named by nobody: grow.go.
//   - Records fit in the journal, and rows in the store, before they are made: room.go. What one batch cannot take away goes
//     in steps: going.go; of a volume with many layers some at a time: record_shed.go.
//   - One host holds a pool, and looks again before each batch and superblock: hosthold.go.
//   - A write past the size that is on the device is never in place: Plan.splitAtEnd.
//   - A hole in the journal does not open: journal.Open. A superblock that was lost does not: checkpointer.replay.
//   - Everything that a change of structure does to blocks is in layer.go: reap, bury, mergeDown; walk.go has walks.
//
// # Errors
//
// What an error is stands in one table, chain/fault, and is decided where it is made: blockdev marks what the device or the
// host could not, meta says of a page whether it is damaged or was not read, wrapCorrupt marks what contradicts itself,
// failLocked what is of the pool. Nobody else decides; who receives an error asks fault.Of.
//
//	where                                   transient, of one object                        of the pool
//	--------------------------------------  ----------------------------------------------  -----------------------------
//	housekeeping (Run, chore)               noted and tried again with a back-off           rests; Run does not end
//	a walk, a sweep, a layer that goes,     its own back-off: it keeps no other; what it    -
//	  what was destroyed and has had its    would free is not available meanwhile
//	  time, an erase job                    (Usage.Stranded, Usage.Troubles)
//	a record that reads pages (prepare)     refused before anything has changed             -
//	a checkpoint                            all taken back (Store.Undo, thaw); the old      lost sync, lost journal
//	                                        superblock stays; tried again                   write
//	a commit that cannot see who holds the  the records wait for the next one               another host holds it
//	  pool (mustHold)
//	who waits for space (reclaim)           the next means is tried                         told
//	who reads or writes those bytes         told: EIO                                       reads go on, ErrReadOnly
//
// What a damaged page touches, that is, one of which no copy has the content that its pointer vouches for:
//
//	page of           who notices                                             what a checkpoint does that needs it
//	----------------  ------------------------------------------------------  ---------------------------------------------
//	a map             its region answers EIO, for good: what was written      names it with a checksum that no page has, so
//	                  there since is lost with it; what the volume owns       that nothing older is ever seen there again
//	                  there stays in use when it is destroyed                 (meta.Maps.OnLost); all else is built
//	a dead list       the layer is not merged or swept                        puts what is new into another tree of the row
//	a list of a job   the job is failing                                      the same; leaves the worked-off part
//	a group           its clean blocks are in use until Repair                    writes a page by which nothing is clean
//	the catalog,      names and attributes in it answer EIO                   is held: it is tried again, shown, and the
//	the group table                                                           journal and the old superblock stay good. When
//	                                                                          the journal is full, changes are refused;
//	                                                                          reads, and writes in place, go on
//
// All of them but the leaves of maps have two copies. What is lost is named in Usage.Damages and in the log. What says where blocks are
// free is made anew by Repair, of what says where they are used (mend.go).
//
// What contradicts what this process knows (a record that cannot be applied, a page freed twice) is of the pool: memory and
// journal differ. What only a bug of this process can bring about is fault.Misuse.
//
// Check walks all of it, and runs at the end of every test.
package chain
