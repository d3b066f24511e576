# Windows Server DHCP: network boot of EKS Anywhere machines, written by hookbuild dhcp windows.
# Release v0.26, phase bootstrap: the machines boot from 192.0.2.9, in phase cluster from 192.0.2.10.
#
# Run it with -WhatIf first. It can be run again at any time: settings that are right stay, and
# those of machines that have left the list are removed. The scopes must exist; their leases and all
# other clients are not affected.

#Requires -RunAsAdministrator
#Requires -Modules DhcpServer
[CmdletBinding(SupportsShouldProcess)]
param()
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# A module's commands do not see the preferences of a script, so each gets them.
$change = @{ ErrorAction = 'Stop'; WhatIf = [bool]$WhatIfPreference; Confirm = $false }

# --- What to boot. A machine's firmware loads the file of its kind, iPXE the script. ---
$tag = 'eksa'
$mark = 'hookbuild eksa'
$bootServer = '192.0.2.9'
$scriptUrl = 'http://192.0.2.9:7171/ipxe/script/auto.ipxe'
$userClasses = @(
    [pscustomobject]@{ Name = 'eksa-ipxe-0'; Data = 'Tinkerbell' }
)
$kinds = @(
    [pscustomobject]@{ Name = 'eksa-bios-0'; Data = 'PXEClient:Arch:00000'; File = 'undionly.kpxe'; Http = $false }
    [pscustomobject]@{ Name = 'eksa-efi-x86-7'; Data = 'PXEClient:Arch:00007'; File = 'ipxe.efi'; Http = $false }
    [pscustomobject]@{ Name = 'eksa-efi-x86-9'; Data = 'PXEClient:Arch:00009'; File = 'ipxe.efi'; Http = $false }
    [pscustomobject]@{ Name = 'eksa-efi-arm-11'; Data = 'PXEClient:Arch:00011'; File = 'snp-arm64.efi'; Http = $false }
    [pscustomobject]@{ Name = 'eksa-http-x86-16'; Data = 'HTTPClient:Arch:00016'; File = 'http://192.0.2.9:7171/ipxe/binary/ipxe.efi'; Http = $true }
    [pscustomobject]@{ Name = 'eksa-http-arm-19'; Data = 'HTTPClient:Arch:00019'; File = 'http://192.0.2.9:7171/ipxe/binary/snp-arm64.efi'; Http = $true }
)

# --- The machines ---
$machines = @(
    [pscustomobject]@{ Scope = '192.0.2.0'; Name = 'eksa-cp01'; Mac = '00-00-5E-00-53-11'; Ip = '192.0.2.11'; Router = '192.0.2.1'; Dns = @('192.0.2.53', '192.0.2.54'); Option43 = @() }
    [pscustomobject]@{ Scope = '192.0.2.0'; Name = 'eksa-cp02'; Mac = '00-00-5E-00-53-12'; Ip = '192.0.2.12'; Router = '192.0.2.1'; Dns = @('192.0.2.53', '192.0.2.54'); Option43 = @() }
    [pscustomobject]@{ Scope = '192.0.2.0'; Name = 'eksa-wk01'; Mac = '00-00-5E-00-53-21'; Ip = '192.0.2.21'; Router = '192.0.2.1'; Dns = @('192.0.2.53', '192.0.2.54'); Option43 = @('0x74', '0x03', '0x31', '0x32', '0x30') }
    [pscustomobject]@{ Scope = '192.0.2.0'; Name = 'eksa-wk02'; Mac = '00-00-5E-00-53-22'; Ip = '192.0.2.22'; Router = '192.0.2.254'; Dns = @('192.0.2.55'); Option43 = @() }
    [pscustomobject]@{ Scope = '198.51.100.0'; Name = 'eksa-edge01'; Mac = '00-00-5E-00-53-31'; Ip = '198.51.100.31'; Router = '198.51.100.1'; Dns = @('198.51.100.53'); Option43 = @() }
    [pscustomobject]@{ Scope = '198.51.100.0'; Name = 'eksa-edge02'; Mac = '00-00-5E-00-53-32'; Ip = '198.51.100.32'; Router = '198.51.100.1'; Dns = @('198.51.100.53'); Option43 = @('0x74', '0x03', '0x33', '0x30', '0x30') }
)

# --- Server: classes, and option 60, which Windows does not know ---
$known = @(Get-DhcpServerv4Class -ErrorAction Stop | ForEach-Object { $_.Name })
foreach ($c in $userClasses) {
    if ($known -notcontains $c.Name) {
        Add-DhcpServerv4Class -Name $c.Name -Type User -Data $c.Data -Description $mark @change
    }
}
foreach ($k in $kinds) {
    if ($known -notcontains $k.Name) {
        Add-DhcpServerv4Class -Name $k.Name -Type Vendor -Data $k.Data -Description $mark @change
    }
}
$options = @(Get-DhcpServerv4OptionDefinition -ErrorAction Stop | ForEach-Object { $_.OptionId })
if ($options -notcontains 60) {
    Add-DhcpServerv4OptionDefinition -OptionId 60 -Name 'Vendor class identifier' -Type String @change
}

foreach ($group in ($machines | Group-Object -Property Scope)) {
    $scope = $group.Name
    $settings = Get-DhcpServerv4Scope -ScopeId $scope -ErrorAction Stop
    if (-not $settings.ActivatePolicies) {
        Write-Warning ('Scope ' + $scope + ' has its policies switched off: the machines would get no boot file. Set-DhcpServerv4Scope -ScopeId ' + $scope + ' -ActivatePolicies $true')
    }
    $macs = @($group.Group | ForEach-Object { $_.Mac })
    $ips = @($group.Group | ForEach-Object { $_.Ip })

    # --- Reservations ---
    $present = @(Get-DhcpServerv4Reservation -ScopeId $scope -ErrorAction Stop)
    foreach ($r in $present) {
        $ip = $r.IPAddress.ToString()
        if (($r.Description -eq $mark) -and ($ips -notcontains $ip)) {
            Remove-DhcpServerv4Reservation -IPAddress $ip @change
        } elseif (($macs -contains $r.ClientId) -and ($ips -notcontains $ip)) {
            throw ('The MAC ' + $r.ClientId + ' is already reserved for ' + $ip + ': remove that reservation or change hardware.csv')
        }
    }
    foreach ($m in $group.Group) {
        $have = @($present | Where-Object { $_.IPAddress.ToString() -eq $m.Ip })
        if ($have.Count -eq 0) {
            Add-DhcpServerv4Reservation -ScopeId $scope -IPAddress $m.Ip -ClientId $m.Mac -Name $m.Name -Type Dhcp -Description $mark @change
        } elseif ($have[0].ClientId -ne $m.Mac) {
            throw ('The address ' + $m.Ip + ' is already reserved for ' + $have[0].ClientId + ': remove that reservation or change hardware.csv')
        }
        # -Force: do not check that the name servers can be reached from here.
        Set-DhcpServerv4OptionValue -ReservedIP $m.Ip -Router $m.Router -DnsServer $m.Dns -Force @change
        Set-DhcpServerv4OptionValue -ReservedIP $m.Ip -OptionId 12 -Value $m.Name @change
        Set-DhcpServerv4OptionValue -ReservedIP $m.Ip -OptionId 15 -Value 'example.net' @change
        if ($m.Option43.Count -gt 0) {
            # The VLAN that the firmware booted through, for Tinkerbell's iPXE: sub-option 116.
            Set-DhcpServerv4OptionValue -ReservedIP $m.Ip -OptionId 43 -Value $m.Option43 @change
        }
    }

    # --- Policies: only for these machines, the script before the programs ---
    $policies = @(Get-DhcpServerv4Policy -ScopeId $scope -ErrorAction SilentlyContinue | ForEach-Object { $_.Name })
    $isMachine = @('EQ') + $macs
    $isIpxe = @('EQ') + @($userClasses | ForEach-Object { $_.Name })
    $isFirmware = @('NE') + @($userClasses | ForEach-Object { $_.Name })
    $name = $tag + '-ipxe'
    if ($policies -contains $name) {
        Set-DhcpServerv4Policy -Name $name -ScopeId $scope -Condition And -UserClass $isIpxe -MacAddress $isMachine @change
    } else {
        Add-DhcpServerv4Policy -Name $name -ScopeId $scope -Condition And -UserClass $isIpxe -MacAddress $isMachine -ProcessingOrder 1 -Description $mark @change
    }
    Set-DhcpServerv4OptionValue -ScopeId $scope -PolicyName $name -OptionId 66 -Value $bootServer @change
    Set-DhcpServerv4OptionValue -ScopeId $scope -PolicyName $name -OptionId 67 -Value $scriptUrl @change

    foreach ($k in $kinds) {
        # The condition names the class, not its data; the asterisk makes it compare the
        # beginning, because option 60 continues with the version of UNDI.
        $isKind = @('EQ', ($k.Name + '*'))
        if ($policies -contains $k.Name) {
            Set-DhcpServerv4Policy -Name $k.Name -ScopeId $scope -Condition And -VendorClass $isKind -UserClass $isFirmware -MacAddress $isMachine @change
        } else {
            Add-DhcpServerv4Policy -Name $k.Name -ScopeId $scope -Condition And -VendorClass $isKind -UserClass $isFirmware -MacAddress $isMachine -Description $mark @change
        }
        Set-DhcpServerv4OptionValue -ScopeId $scope -PolicyName $k.Name -OptionId 66 -Value $bootServer @change
        Set-DhcpServerv4OptionValue -ScopeId $scope -PolicyName $k.Name -OptionId 67 -Value $k.File @change
        if ($k.Http) {
            Set-DhcpServerv4OptionValue -ScopeId $scope -PolicyName $k.Name -OptionId 60 -Value 'HTTPClient' @change
        }
    }
}
