package chain

// growProperties are those of a pool that grows by itself, in LVM's words.
var growProperties = []Property{
	{
		Name: PropAutoThreshold, On: OnPool, Default: "100", Parse: percent(1, 100),
		Help: `the pool grows by itself when so many percent of it are used or promised; 100 is never`,
	},
	{
		Name: PropAutoPercent, On: OnPool, Default: "20", Parse: percent(1, 1000),
		Help: `by how many percent of its size it grows at a time, or by what there is`,
	},
	{
		Name: PropAutoMax, On: OnPool, Default: "none", Bytes: true, Parse: sizeOr("none"),
		Help: `the size that it does not grow beyond by itself`,
	},
}
