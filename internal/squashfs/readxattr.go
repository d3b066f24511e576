package squashfs

import "fmt"

// xattrHeader begins the part of the attributes' table to which the superblock
// refers.
type xattrHeader struct {
	Pairs         uint64 // position of the names and values
	Count, Unused uint32
}

// xattrSet is an entry of the table of sets.
type xattrSet struct {
	Ref         uint64
	Count, Size uint32
}

const (
	mostXattrs     = 256    // in a set: our limit
	xattrElsewhere = 0x0100 // in a name's type: the value is a reference to one
)

// xattrs returns the set of attributes with that number.
func (t *treeReader) xattrs(number uint32) (map[string]string, error) {
	if set, ok := t.sets[number]; ok {
		return set, nil
	}
	set, err := t.image.xattrs(number)
	if err != nil {
		return nil, err
	}
	for name, value := range set {
		t.xattrBytes += len(name) + len(value)
	}
	if t.xattrBytes > mostXattrBytes {
		return nil, fmt.Errorf("it has more than %d bytes of attributes", mostXattrBytes)
	}
	t.sets[number] = set
	return set, nil
}

func (i *Image) xattrs(number uint32) (map[string]string, error) {
	var header xattrHeader
	var set xattrSet
	if i.super.Flags&flagNoXattrs != 0 || i.super.XattrTable == noTable {
		return nil, nil // squashfs-tools-ng numbers sets that it does not write
	}
	raw, err := i.readAt(i.super.XattrTable, 16)
	if err != nil {
		return nil, fmt.Errorf("reading the table of attributes: %w", err)
	}
	if err := decode(raw, &header); err != nil {
		return nil, err
	}
	if number >= header.Count {
		return nil, fmt.Errorf("its set of attributes %d is not below %d", number, header.Count)
	}
	if err := i.lookup(i.super.XattrTable+16, number, &set); err != nil {
		return nil, fmt.Errorf("reading its set of attributes: %w", err)
	}
	if set.Count > mostXattrs {
		return nil, fmt.Errorf("it has %d attributes, more than %d", set.Count, mostXattrs)
	}
	cur := i.at(header.Pairs, inodeRef(set.Ref))
	all := map[string]string{}
	for range set.Count {
		name, value, err := i.xattr(cur, header.Pairs)
		if err != nil {
			return nil, fmt.Errorf("reading an attribute: %w", err)
		}
		all[name] = value
	}
	return all, nil
}

func (i *Image) xattr(cur *cursor, pairs uint64) (name, value string, err error) {
	var head struct{ Kind, NameSize uint16 }
	if err := cur.decode(&head); err != nil {
		return "", "", err
	}
	space := int(head.Kind &^ xattrElsewhere)
	if space >= len(xattrPrefixes()) || head.NameSize > mostXattrName {
		return "", "", fmt.Errorf("its type is %d, its name has %d bytes", head.Kind, head.NameSize)
	}
	rest, err := cur.bytes(int(head.NameSize))
	if err != nil {
		return "", "", err
	}
	value, err = xattrValue(cur)
	if err == nil && head.Kind&xattrElsewhere != 0 {
		var ref uint64
		if err := decode([]byte(value), &ref); err != nil {
			return "", "", err
		}
		value, err = xattrValue(i.at(pairs, inodeRef(ref)))
	}
	return xattrPrefixes()[space] + string(rest), value, err
}

func xattrValue(cur *cursor) (string, error) {
	var size uint32
	if err := cur.decode(&size); err != nil {
		return "", err
	}
	if size > mostXattrValue {
		return "", fmt.Errorf("its value has %d bytes", size)
	}
	b, err := cur.bytes(int(size))
	return string(b), err
}
